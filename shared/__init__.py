"""The kernel that every service stands on: vocabulary and plumbing, no business decisions."""
