//! What a packaged model is: references, manifests, views over one set of blobs. No network.
#![forbid(unsafe_code)]
