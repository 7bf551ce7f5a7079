"""Built-in simulator plugins, one a file."""
