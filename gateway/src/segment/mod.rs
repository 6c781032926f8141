//! Segmentation says whom a device may reach.
