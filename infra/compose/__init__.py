"""Scripts that `docker-compose.yml` uses."""
