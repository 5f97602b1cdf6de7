"""Rayon on Kubernetes: manifests for kustomize, and what looks them through."""
