"""Folders of JPEG photographs through large networks, side by side with what else there is."""
