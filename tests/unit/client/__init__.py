"""The client and the command line, against a service on this machine that acts the gateway."""
