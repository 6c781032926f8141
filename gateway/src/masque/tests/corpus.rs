//! Replays what the fuzzer found worth keeping: the same invariants, no fuzzer needed (`gateway/fuzz`).

use std::path::Path;

#[path = "../../../fuzz/targets/masque_invariants.rs"]
mod invariants;

type Holds = fn(&[u8]);

#[test]
fn the_corpora_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets: [(&str, Holds); 5] = [
        ("masque_server", invariants::server),
        ("masque_client", invariants::client),
        ("masque_fields", invariants::fields),
        ("masque_capsules", invariants::capsules),
        ("masque_packet", invariants::packet),
    ];
    for (target, holds) in targets {
        let mut inputs = 0;
        for entry in std::fs::read_dir(folder.join(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            holds(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 15, "{target}: {inputs}");
    }
}
