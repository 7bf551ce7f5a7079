"""Long statistical verification."""
