"""What people see: terminal output, previews, the demo."""
