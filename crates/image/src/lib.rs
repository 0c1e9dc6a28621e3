//! OCI images for orlop: from a registry or a layout on disk to a bundle that `orlop run` starts.
