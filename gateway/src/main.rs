//! Lazaret: the daemon, its workers and the command, in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    lazaret::cli::main()
}
