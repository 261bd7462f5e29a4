"""The groups of the `trainer` command. Imports of large libraries are inside the commands."""
