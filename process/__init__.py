"""What a program knows of itself as a process: who it is, what it may use, what it imports."""
