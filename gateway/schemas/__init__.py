"""What goes over HTTP. The shapes are public and stable; additions are welcome, changes are not."""
