//! Ways into the running demo: `target/demo/sh PLACE COMMAND…` and `target/demo/lazaret …`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use e2e::{Site, hl7};

/// Commands that are worth trying, one a line.
pub(crate) const INVITATION: &[&str] = &[
    "target/demo/lazaret status",
    "target/demo/lazaret explain ecg-0042 10.20.0.5:22",
    "target/demo/lazaret audit tail",
    "target/demo/lazaret device quarantine us-07",
    "target/demo/sh gateway wg show lz-wg",
    "target/demo/sh gateway nft list table inet lazaret",
    "target/demo/sh home1 target/peers/bin/mllp_send --port 2575 --file target/demo/message.hl7 10.20.2.10",
    "target/demo/sh home2 /usr/bin/echoscu -v -aet US07 -aec PACS1 10.20.1.10 104",
];

/// Writes `target/demo/sh`. `keeper` is the process whose only child is the first one inside the namespaces.
pub(crate) fn write_shell(keeper: u32) {
    let script = format!(
        "#!/bin/sh\n\
         # Runs a command at a place of the running demo.\n\
         places='home1 home2 clinician internet gateway hospital'\n\
         [ $# -ge 2 ] || {{ echo \"usage: $0 PLACE COMMAND... (places: $places)\" >&2; exit 2; }}\n\
         inner=$(cat /proc/{keeper}/task/{keeper}/children 2>/dev/null)\n\
         [ -n \"$inner\" ] || {{ echo 'no demo is running: tests/demo --stay' >&2; exit 1; }}\n\
         exec nsenter --target \"${{inner%% *}}\" --user --preserve-credentials --mount --net --pid --wd=\"$PWD\" \
         -- ip netns exec \"$@\"\n"
    );
    write_executable("sh", &script);
}

/// Writes `target/demo/lazaret` and a message to send by hand.
pub(crate) fn write_command(site: &Site) {
    let program = std::env::current_exe().expect("the path of this program");
    let command = format!(
        "#!/bin/sh\nexec {}/sh gateway {} --config {} \"$@\"\n",
        folder().display(),
        program.with_file_name("lazaret").display(),
        site.directory().display()
    );
    write_executable("lazaret", &command);
    let message = hl7::frame(&hl7::oru("BY-HAND"));
    std::fs::write(folder().join("message.hl7"), message).expect("a message in target/demo");
}

fn write_executable(name: &str, script: &str) {
    std::fs::create_dir_all(folder()).expect("target/demo");
    let path = folder().join(name);
    std::fs::write(&path, script).expect("a script in target/demo");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn folder() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    root.canonicalize()
        .expect("the project")
        .join("target/demo")
}
