"""Configuration of other people's software, and the launcher of the embedded run."""
