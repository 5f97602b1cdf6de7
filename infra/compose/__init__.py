"""What `docker-compose.yml` needs beside images."""
