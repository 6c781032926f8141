//! The house: supervisor, workers, reload, shutdown.
