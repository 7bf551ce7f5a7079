"""Built-in discriminator plugins, one a file."""
