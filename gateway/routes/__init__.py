"""The routes: thin functions from HTTP to the noun modules."""
