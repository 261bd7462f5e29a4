"""Models as their authors saved them: each format opened, and what it wants and gives."""
