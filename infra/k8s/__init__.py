"""Kubernetes manifests for kustomize and their checks."""
