//! Asking and answering at a terminal, or through a pipe, without an editor: dumb serial lines have only this.
//!
//! Lines come from the terminal's own line discipline; secrets are not echoed; who is silent for too long is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zeroize::Zeroizing;

/// Somebody who can be asked.
pub(in crate::cli) trait Screen {
    /// Shows a text.
    fn print(&mut self, text: &str) -> io::Result<()>;
    /// Asks for a line, without its end; `None` when nobody answers any more.
    fn line(&mut self, prompt: &str) -> io::Result<Option<String>>;
    /// Asks for a line that is not shown.
    fn secret(&mut self, prompt: &str) -> io::Result<Option<Zeroizing<String>>>;
}

/// The terminal of this process, or a pipe.
pub(in crate::cli) struct Terminal {
    input: io::Stdin,
    output: io::Stdout,
    rest: Zeroizing<Vec<u8>>,
    /// How long to wait for a key.
    idle: Duration,
    /// As it was before.
    modes: Option<Termios>,
}

impl Terminal {
    /// Takes the terminal: nothing typed there stops this process or makes it dump its memory.
    pub(in crate::cli) fn new(idle: Duration) -> io::Result<Self> {
        let input = io::stdin();
        let modes = rustix::termios::tcgetattr(&input).ok();
        if let Some(modes) = &modes {
            let mut quiet = modes.clone();
            // With no process group to go back to, a stopped console would be lost.
            for key in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
                quiet.special_codes[key] = DISABLED;
            }
            quiet.local_modes |= LocalModes::ICANON | LocalModes::ECHO;
            rustix::termios::tcsetattr(&input, OptionalActions::Now, &quiet)?;
        }
        Ok(Self {
            input,
            output: io::stdout(),
            rest: Zeroizing::new(Vec::new()),
            idle,
            modes,
        })
    }

    /// How long it waits for a key.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    fn echo(&self, on: bool) -> io::Result<()> {
        if self.modes.is_none() {
            return Ok(());
        }
        let mut modes = rustix::termios::tcgetattr(&self.input)?;
        modes.local_modes.set(LocalModes::ECHO, on);
        Ok(rustix::termios::tcsetattr(
            &self.input,
            OptionalActions::Now,
            &modes,
        )?)
    }

    fn read_line(&mut self) -> io::Result<Option<Zeroizing<String>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Zeroizing<Vec<u8>> = Zeroizing::new(self.rest.drain(..=end).collect());
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(Zeroizing::new(
                    text.trim_end_matches(['\r', '\n']).to_owned(),
                )));
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "the line is too long",
                ));
            }
            wait(self.input.as_fd(), self.idle)?;
            let mut bytes = Zeroizing::new([0; 512]);
            match rustix::io::read(&self.input, bytes.as_mut_slice()) {
                Ok(0) => return Ok(None),
                Ok(count) => self
                    .rest
                    .extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(rustix::io::Errno::INTR) => {}
                // The line was hung up.
                Err(rustix::io::Errno::IO) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Screen for Terminal {
    fn print(&mut self, text: &str) -> io::Result<()> {
        io::Write::write_all(&mut self.output, text.as_bytes())?;
        io::Write::flush(&mut self.output)
    }

    fn line(&mut self, prompt: &str) -> io::Result<Option<String>> {
        self.print(prompt)?;
        Ok(self.read_line()?.map(|line| line.as_str().to_owned()))
    }

    fn secret(&mut self, prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
        self.echo(false)?;
        self.print(prompt)?;
        let line = self.read_line();
        self.echo(true)?;
        self.print("\n")?;
        line
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(modes) = &self.modes {
            let _ = rustix::termios::tcsetattr(&self.input, OptionalActions::Now, modes);
        }
    }
}

fn wait(input: BorrowedFd<'_>, idle: Duration) -> io::Result<()> {
    let limit = Timespec {
        tv_sec: i64::try_from(idle.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    loop {
        let mut asked = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
        match poll(&mut asked, Some(&limit)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody was there")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// `_POSIX_VDISABLE`.
const DISABLED: u8 = 0;
/// Longest line in bytes. //= C7
const LONGEST_LINE: usize = 8 << 10;
