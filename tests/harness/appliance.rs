//! The appliance as a hospital runs it: its image in a virtual machine that stands where the gateway stands.
//!
//! In: an image of `images/build`. Out: a machine with power, two network cards (`wan0` and `lan0` of the world)
//! and a serial console. Nothing of it is simulated but the processor, so everything takes its time:
//! waiting ends when the machine has computed long enough in vain, not when a clock says so.

use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::lab::{Lab, Place};
use crate::process::{Output, Process};
use crate::wait;

/// A machine with one disk; it loses its power when dropped.
pub struct Appliance<'a> {
    lab: &'a Lab,
    disk: PathBuf,
    variables: PathBuf,
    credentials: Vec<(String, PathBuf)>,
    tpm: Option<PathBuf>,
    stick: Vec<PathBuf>,
    epoch: Option<String>,
    hardware: Hardware,
    machine: Option<Machine>,
    boots: usize,
}

/// What the machine is made of.
struct Hardware {
    card: &'static str,
    disk: &'static str,
    stick: &'static str,
}

/// For the flavour `vm`: what hypervisors have.
const VIRTUAL: Hardware = Hardware {
    card: "virtio-net-pci",
    disk: "virtio-blk-pci",
    stick: "virtio-blk-pci",
};
/// For the flavour `metal`: what servers have.
const METAL: Hardware = Hardware {
    card: "e1000e",
    disk: "nvme,serial=1",
    stick: "usb-storage",
};

struct Machine {
    process: Process,
    trusted: Option<Process>,
    keyboard: UnixStream,
    screen: PathBuf,
    /// Where in the screen's text the last wait ended.
    seen: usize,
}

impl<'a> Appliance<'a> {
    /// A machine whose disk holds a copy of the image and is as large as the smallest supported disk.
    ///
    /// # Panics
    /// When the image cannot be copied or the world not be wired.
    pub fn new(lab: &'a Lab, image: &Path) -> Self {
        let folder = lab.folder("appliance");
        let disk = folder.join("disk.raw");
        let variables = folder.join("variables.fd");
        let copy = format!(
            "cp --sparse=always '{}' '{}' && truncate --size=4G '{}' && cp /usr/share/OVMF/OVMF_VARS_4M.fd '{}'",
            image.display(),
            disk.display(),
            disk.display(),
            variables.display(),
        );
        shell(&copy);
        wire();
        Self {
            lab,
            disk,
            variables,
            credentials: Vec::new(),
            tpm: None,
            stick: Vec::new(),
            epoch: None,
            hardware: hardware(image),
            machine: None,
            boots: 0,
        }
    }

    /// A systemd credential that the machine's firmware hands over, as a hypervisor does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn credential(&mut self, name: &str, value: &str) {
        let path = self.disk.with_file_name(format!("credential-{name}"));
        let text = format!(
            "io.systemd.credential.binary:{name}={}",
            BASE64_STANDARD.encode(value)
        );
        std::fs::write(&path, text).unwrap();
        self.credentials.retain(|(known, _)| known != name);
        self.credentials.push((name.to_owned(), path));
    }

    /// Takes all credentials away again.
    pub fn forget_credentials(&mut self) {
        self.credentials.clear();
    }

    /// Gives it a TPM, which keeps its state over all boots.
    pub fn add_tpm(&mut self) {
        self.tpm = Some(self.lab.folder("tpm"));
    }

    /// Plugs in a stick with a FAT file system of this label and these files; seen from the next power-on.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn plug(&mut self, label: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let number = self.stick.len();
        let folder = self.lab.folder(&format!("stick-{number}"));
        let held: usize = files.iter().map(|(_, bytes)| bytes.len() >> 20).sum();
        let stick = self.disk.with_file_name(format!("stick-{number}.img"));
        let mut script = format!(
            "truncate --size={1}M '{0}' && mkfs.vfat -n {label} '{0}' >/dev/null\n",
            stick.display(),
            64 + held
        );
        for (name, bytes) in files {
            let file = folder.join(name);
            std::fs::write(&file, bytes).unwrap();
            writeln!(
                script,
                "mcopy -i '{}' '{}' '::{name}'",
                stick.display(),
                file.display()
            )
            .unwrap();
        }
        shell(&script);
        self.stick.push(stick.clone());
        stick
    }

    /// Pulls all sticks out.
    pub fn unplug(&mut self) {
        self.stick.clear();
    }

    /// What the machine's clock shows at power-on (`1970-01-01T00:00:00`); otherwise the real time.
    pub fn clock(&mut self, epoch: Option<&str>) {
        self.epoch = epoch.map(str::to_owned);
    }

    /// Keeps what is on the disk and in the firmware's variables, for [`Self::put_back`].
    ///
    /// # Panics
    /// When the machine is on, or there is no room.
    pub fn keep(&self) {
        assert!(self.machine.is_none(), "it is on");
        shell(&self.copies(".kept", ""));
    }

    /// The disk and the variables as [`Self::keep`] found them.
    ///
    /// # Panics
    /// When the machine is on, or nothing was kept.
    pub fn put_back(&self) {
        assert!(self.machine.is_none(), "it is on");
        shell(&self.copies("", ".kept"));
    }

    fn copies(&self, to: &str, from: &str) -> String {
        let copy = |path: &Path| {
            let path = path.display();
            format!("cp --sparse=always '{path}{from}' '{path}{to}'\n")
        };
        copy(&self.disk) + &copy(&self.variables)
    }

    /// The disk, to be read or damaged while the power is off.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Switches it on.
    ///
    /// # Panics
    /// When QEMU cannot be started, or it is on already.
    pub fn power_on(&mut self) {
        assert!(self.machine.is_none(), "it is on already");
        self.boots += 1;
        let name = format!("appliance-{}", self.boots);
        let screen = self.lab.directory().join(format!("{name}.screen"));
        let socket = self.lab.directory().join(format!("{name}.serial"));
        let trusted = self
            .tpm
            .as_deref()
            .map(|state| self.start_tpm(&name, state));
        let mut command = self.lab.command(Place::Gateway, "qemu-system-x86_64");
        command.args(self.command_line());
        command.arg("-chardev").arg(format!(
            "socket,id=serial,path={},server=on,wait=off,logfile={}",
            socket.display(),
            screen.display()
        ));
        command.args(["-serial", "chardev:serial"]);
        if let Some((_, socket)) = &trusted {
            command
                .arg("-chardev")
                .arg(format!("socket,id=tpm,path={}", socket.display()));
            command.args([
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm",
                "-device",
                "tpm-crb,tpmdev=tpm0",
            ]);
        }
        let mut process = Process::start(&name, self.lab.directory(), command);
        let keyboard = wait::until("the serial line of the machine", wait::SOON, || {
            let ended = process.ended();
            assert!(ended.is_none(), "QEMU ended: {}", process.output());
            UnixStream::connect(&socket).ok()
        });
        read_off(&keyboard);
        self.machine = Some(Machine {
            process,
            trusted: trusted.map(|(process, _)| process),
            keyboard,
            screen,
            seen: 0,
        });
    }

    /// Takes the power away, whatever it does.
    ///
    /// # Panics
    /// When it is off.
    pub fn cut_power(&mut self) {
        drop(self.machine.take().expect("a machine that is on"));
    }

    /// Waits until it switches itself off.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for_power_off(&mut self) {
        let mut machine = self.machine.take().expect("a machine that is on");
        let begun = machine.computed();
        wait::until("the machine switches itself off", LONG, || {
            machine.still_computes(begun, "its end");
            machine.process.ended()
        });
    }

    /// Waits until the screen shows a text after everything that was waited for before; what came until then.
    ///
    /// # Panics
    /// When the machine computes for ten minutes without showing it.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_any(&[text]).1
    }

    /// [`Self::wait_for`] the first of several texts; its place in the list.
    ///
    /// # Panics
    /// As above.
    pub fn wait_for_any(&mut self, texts: &[&str]) -> (usize, String) {
        let machine = self.machine.as_mut().expect("a machine that is on");
        let begun = machine.computed();
        let what = format!("the screen shows {texts:?}");
        wait::until(&what, LONG, || {
            machine.still_computes(begun, &what);
            let ended = machine.process.ended();
            assert!(ended.is_none(), "the machine ended: {}", machine.tail());
            machine.find(texts)
        })
    }

    /// Types a line on the serial console.
    pub fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Presses keys on the serial console.
    ///
    /// # Panics
    /// When the machine is off.
    pub fn press(&mut self, keys: &str) {
        let machine = self.machine.as_mut().expect("a machine that is on");
        machine.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Logs in at the console.
    pub fn log_in(&mut self, password: &str) {
        self.type_line("");
        let _ = self.wait_for("assword");
        self.type_line(password);
        let _ = self.wait_for(PROMPT);
    }

    /// Runs a command at the prompt, after [`Self::log_in`]; what it printed.
    pub fn lazaret(&mut self, line: &str) -> String {
        self.type_line(line);
        let echo = line.split_whitespace().last().unwrap_or_default();
        let _ = self.wait_for(echo);
        let mut said = self.wait_for(PROMPT);
        said.truncate(said.len().saturating_sub(PROMPT.len()));
        said
    }

    /// Everything on the screen since the last power-on.
    pub fn screen(&self) -> String {
        self.machine.as_ref().map(Machine::text).unwrap_or_default()
    }

    /// Seconds that the processors of the machine computed since power-on.
    pub fn computed(&self) -> f64 {
        self.machine.as_ref().map_or(0.0, Machine::computed)
    }

    /// One processor: with two, QEMU once let a kernel that patches itself run into its own breakpoint.
    fn command_line(&self) -> Vec<String> {
        let mut line: Vec<String> = [
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-m",
            "1024",
            "-display",
            "none",
            "-no-user-config",
            "-nodefaults",
            "-uuid",
            "6f1f3b52-30fb-4a0a-9b0f-5f0f2d6f0001",
            "-drive",
            "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
            "-netdev",
            "tap,id=wan,ifname=tapwan,script=no,downscript=no",
            "-netdev",
            "tap,id=lan,ifname=taplan,script=no,downscript=no",
            "-device",
            "virtio-rng-pci",
            "-device",
            "qemu-xhci",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        let Hardware { card, disk, stick } = self.hardware;
        for (number, wire) in ["wan", "lan"].into_iter().enumerate() {
            let mac = format!("52:54:00:00:00:{:02}", number + 1);
            add("-device", format!("{card},netdev={wire},mac={mac}"));
        }
        add(
            "-drive",
            format!("if=pflash,format=raw,file={}", self.variables.display()),
        );
        let file = self.disk.display();
        add(
            "-drive",
            format!("if=none,id=disk,format=raw,cache=writeback,file={file}"),
        );
        add("-device", format!("{disk},drive=disk,bootindex=1"));
        for (number, file) in self.stick.iter().enumerate() {
            let file = file.display();
            add(
                "-drive",
                format!("if=none,id=stick{number},format=raw,file={file}"),
            );
            add("-device", format!("{stick},drive=stick{number}"));
        }
        for (_, path) in &self.credentials {
            add("-smbios", format!("type=11,path={}", path.display()));
        }
        if let Some(epoch) = &self.epoch {
            add("-rtc", format!("base={epoch}"));
        }
        line
    }

    fn start_tpm(&self, name: &str, state: &Path) -> (Process, PathBuf) {
        let socket = state.join("control");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--tpmstate"]);
        command.arg(format!("dir={}", state.display()));
        command
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()));
        let process = Process::start(&format!("{name}-tpm"), self.lab.directory(), command);
        wait::for_true("the socket of the TPM", wait::SOON, || socket.exists());
        (process, socket)
    }
}

impl Drop for Appliance<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.machine.is_some() {
            let machine = self.machine.as_ref().map(Machine::tail);
            eprintln!("--- the screen\n{}", machine.unwrap_or_default());
        }
    }
}

impl Machine {
    fn text(&self) -> String {
        let bytes = std::fs::read(&self.screen).unwrap_or_default();
        plain(&String::from_utf8_lossy(&bytes))
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(80);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn find(&mut self, texts: &[&str]) -> Option<(usize, String)> {
        let text = self.text();
        let new = text.get(self.seen..)?;
        let places = texts.iter().enumerate();
        let found =
            places.filter_map(|(which, text)| new.find(text).map(|at| (at + text.len(), which)));
        let (end, which) = found.min()?;
        let until = new.get(..end)?.to_owned();
        self.seen += end;
        Some((which, until))
    }

    /// Seconds of processor time of QEMU.
    fn computed(&self) -> f64 {
        // `ip netns exec` executes QEMU in its own place, so the number stays the same.
        let path = format!("/proc/{}/stat", self.process.pid());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|tick| tick.parse::<f64>().ok())
            .sum::<f64>()
            / 100.0
    }

    fn still_computes(&self, begun: f64, what: &str) {
        let computed = self.computed() - begun;
        assert!(
            computed < PATIENCE,
            "computed for {computed:.0} s in vain: {what}\n{}",
            self.tail()
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        println!(
            "a machine was on for {:.0} s of processor time",
            self.computed()
        );
        drop(self.trusted.take());
    }
}

/// The prompt of the console.
const PROMPT: &str = "lazaret> ";
/// Seconds of processor time: several boots.
const PATIENCE: f64 = 900.0;
/// Real time, in case that the machine does not compute at all.
const LONG: Duration = Duration::from_secs(1500);

/// Takes from the serial line what the screen's file holds too: QEMU waits for a reader, and the machine for QEMU.
fn read_off(serial: &UnixStream) {
    let mut serial = serial.try_clone().unwrap();
    std::thread::spawn(move || std::io::copy(&mut serial, &mut std::io::sink()));
}

/// That for which an image was built; `images/build` says it beside the image.
fn hardware(image: &Path) -> Hardware {
    let built = image.with_file_name("image");
    match std::fs::read_to_string(&built) {
        Ok(said) if said.contains("FLAVOUR=metal") => METAL,
        Ok(_) => VIRTUAL,
        Err(error) => panic!("{}: {error}", built.display()),
    }
}

/// Puts the network cards of the machine where the gateway's interfaces are.
fn wire() {
    let mut script = String::new();
    for (interface, card) in [("wan0", "wan"), ("lan0", "lan")] {
        write!(
            script,
            "ip -n gateway addr flush dev {interface}\n\
             ip -n gateway link add br{card} type bridge\n\
             ip -n gateway link set {interface} master br{card}\n\
             ip -n gateway link set br{card} up\n\
             ip netns exec gateway ip tuntap add dev tap{card} mode tap\n\
             ip -n gateway link set tap{card} master br{card} up\n"
        )
        .unwrap();
    }
    shell(&script);
}

fn shell(script: &str) {
    let mut command = Command::new("sh");
    command.args(["-euc", script]);
    let _ = Output::of(command, Duration::from_secs(300)).ok();
}

/// Without the control sequences of terminals: `ESC [ … letter`, `ESC ] … BEL`, `ESC character`.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.next() {
                Some('[') => {
                    let _ = characters.find(char::is_ascii_alphabetic);
                }
                Some(']') => {
                    let _ = characters.find(|&end| matches!(end, '\u{7}' | '\u{1b}' | '\\'));
                }
                _ => {}
            },
            '\r' => {}
            other => plain.push(other),
        }
    }
    plain
}
