"""The boards of Grafana as code: `make boards` writes what `dashboards/` holds."""
