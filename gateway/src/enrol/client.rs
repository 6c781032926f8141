//! The other end: what a clinician's machine does to be enrolled and to renew its certificate.
