//! The one place where bytes are sliced. See CONTRIBUTING.md, "One reader".
