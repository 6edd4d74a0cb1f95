"""A trained model behind a small page and a JSON API, on one port of this machine."""
