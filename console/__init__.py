"""What command lines and pages do alike when they speak to people."""
