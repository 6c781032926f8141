//! Who is known, and how they stand.
