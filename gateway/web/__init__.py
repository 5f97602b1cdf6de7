"""HTTP plumbing that all areas share: middleware, forms, uploads, rate limits, errors, paging."""
