//! Attacks on a DICOM archive, one test each: what the device gets for it, and the proof that the archive stored
//! nothing, beside the nearest twin that is stored.
//!
//! | #  | attack | test | the device gets |
//! |----|--------|------|-----------------|
//! | 1 | programs in preambles, documents, fragments | `content::attack_01_programs` | C000 |
//! | 2 | paths as instance, study, series, patient | `command::attack_02_path_traversal` | 0117 in the command, C000 in the data set |
//! | 2 | the same from the archive, by C-GET | `query::attack_02_paths_that_come_back` | only the instance whose names are names |
//! | 3 | crafted queries: titles, keys, encoding | `query::attack_03_crafted_queries` | title: `RJ 1/1/7`, `ABORT 2/6`; C000, A700, A900 |
//! | 3 | paths in codes | `query::attack_03_paths_in_codes_under_a_strict_rule` | C000; under `standard` a warning |
//! | 4 | association flood | `opening::attack_04_association_flood` | `close` or `RJ 2/3/2`; others are served |
//! | 5 | nothing where something must be | `command::attack_05_nothing_where_something_must_be` | `ABORT 2/6`; A900, C000 |
//! | 6 | rows as UL, geometry, palettes | `data_set::attack_06_wrong_value_representations_and_geometry` | C000 |
//! | 7 | length bombs in PDUs | `stream::attack_07_length_bombs` | `ABORT 2/6`, by the header |
//! | 7 | length bombs in values | `data_set::attack_07_value_length_bombs` | C000; beyond the largest object A700 |
//! | 8 | deflate bomb | `content::attack_08_deflate_bomb` | A700; as pixels that the image does not have C000 |
//! | 9 | nesting bombs | `data_set::attack_09_nesting_bombs` | A700 |
//! | 10 | PDUs at the wrong time | `stream::attack_10_state_confusion` | `ABORT 2/2` |
//! | 11 | half a PDU and silence; a byte a fragment | `stream::attack_11_slow_drip` | `close` or `ABORT 2/0`; bytes are legal |
//! | 12 | AE title spoofing | `opening::attack_12_ae_title_spoofing` | `RJ 1/1/3`, `RJ 1/1/7`; malformed: `ABORT 2/6` |
//! | 13 | everything of everybody, to anywhere | `access::attack_13_bulk_exfiltration` | A900; rogue destination: A801 |
//! | 13 | results beyond the bound | `query::attack_13_more_results_than_allowed` | so many results, then A700 |
//! | 14 | image changed in transit | `stream::attack_14_tampering_in_transit` | nothing; TCP sends it again |
//! | 15 | control characters, text of no character set | `content::attack_15_text_and_log_injection` | C000, and in no log |
//! | 16 | code streams that crash decoders | `content::attack_01_programs` | 0000: nothing is decoded |
//!
//! What both reference archives, DCMTK `storescp` and pynetdicom, take:
//!
//! | weakness | test | the device gets |
//! |----------|------|-----------------|
//! | class of the data set is not that of the command | `command::command_and_data_set_disagree` | A900 |
//! | class of the command is not that of the context | `command::command_and_data_set_disagree` | 0122 |
//! | instance of the data set is not that of the command | `command::command_and_data_set_disagree` | A900 |
//! | a path as the instance of the command | `command::attack_02_path_traversal` | 0117 |
//! | a command without group length | `command::malformed_commands` | `ABORT 2/6` |
//! | an element of a command twice or out of order | `command::malformed_commands` | `ABORT 2/6` |
//! | groups 0000 and 0002 in a data set | `data_set::elements_out_of_place` | C000 |
//! | another value representation than the dictionary's | `data_set::attack_06_wrong_value_representations_and_geometry` | C000 |
//! | pixel data of another length | `data_set::attack_06_wrong_value_representations_and_geometry` | C000 |
//! | malformed UTF-8 | `content::attack_15_text_and_log_injection` | C000 |
//! | a program as a PDF | `content::attack_01_programs` | C000 |
//! | malformed requests for associations | `opening::malformed_openings` | `ABORT 2/6`, `RJ 1/1/2`, `RJ 1/2/2` |
//! | services and classes that nobody granted | `command::services_that_no_rule_allows` | context result 1, then `ABORT 2/6` |
//!
//! Four digits are the status of a response, `RJ` is result, source and reason of a rejection, `ABORT` source and reason.
//! `close` is the end of the connection without a word.

use e2e::modality::{DataSet, Modality, Request, US, command, store};
use e2e::{Archive, Archiving, Device, Gateway, Lab, PACS, Place, Site, Watch, wait};

mod opening;
mod stream;
mod command;
mod data_set;
mod content;
mod access;
mod query;

/// The standard site with an archive, and the ultrasound `us-07` in the second home.
struct Ward<'a> {
    lab: &'a Lab,
    gateway: Gateway<'a>,
    us: Device<'a>,
    archive: Archive,
}

impl<'a> Ward<'a> {
    fn open(lab: &'a Lab) -> Self {
        Self::open_with(lab, |_| ())
    }

    fn open_with(lab: &'a Lab, change: impl FnOnce(&Site)) -> Self {
        let site = Site::standard(lab);
        change(&site);
        let archive = Archive::start(lab, Archiving::Pynetdicom);
        let gateway = Gateway::start(lab, &site);
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        Self {
            lab,
            gateway,
            us,
            archive,
        }
    }

    /// A connection to the archive.
    #[track_caller]
    fn dial(&self) -> Modality {
        let to = (PACS, 104).into();
        Modality::new(self.us.tcp_within(to, wait::SOON).expect("a connection"))
    }

    /// The same where the gateway may close at once, which the device sees while it connects or when it speaks.
    fn try_to_associate(&self) -> (Option<Modality>, String) {
        match self.us.tcp_within((PACS, 104).into(), wait::SOON) {
            Ok(stream) => {
                let mut modality = Modality::new(stream);
                let said = modality.associate(&Request::usual());
                (Some(modality), said)
            }
            Err(_) => (None, "close".into()),
        }
    }

    /// An association for ultrasound images.
    #[track_caller]
    fn associated(&self) -> Modality {
        self.associated_by(&Request::usual(), "AC 0 0")
    }

    #[track_caller]
    fn associated_by(&self, request: &Request, says: &str) -> Modality {
        let mut modality = self.dial();
        assert_eq!(modality.associate(request), says);
        modality
    }

    /// Stores an unbroken image, on this association.
    #[track_caller]
    fn stores(&self, modality: &mut Modality, number: usize) {
        let instance = instance(100 + number);
        let before = self.archive.stored().len();
        let image = DataSet::image(&instance).bytes();
        let said = modality.ask(&command(&store(9, US, &instance)), Some(&image));
        assert_eq!(said, "status 0000");
        let stored = self.archive.wait_for(before + 1);
        assert_eq!(stored.len(), before + 1, "objects in the archive");
        let newest = stored.last().expect("an object");
        assert!(std::fs::read(newest).unwrap() == image, "other bytes");
    }

    /// So many objects are in the archive, and it was asked for no more.
    #[track_caller]
    fn has_stored(&self, count: usize) {
        let asked = self.archive.asked();
        let stores = asked.iter().filter(|line| line.starts_with("store"));
        assert_eq!(
            (self.archive.stored().len(), stores.count()),
            (count, count)
        );
    }
}

/// C-STOREs on one association, each with the status that the device must get.
/// None reaches the archive, and behind each an unbroken image of the same association does.
#[track_caller]
fn refused(ward: &Ward<'_>, attacks: &[(&str, Vec<u8>, Vec<u8>, &str)]) {
    refused_in(ward, &Request::usual(), "AC 0 0", attacks);
}

#[track_caller]
fn refused_in(
    ward: &Ward<'_>,
    request: &Request,
    says: &str,
    attacks: &[(&str, Vec<u8>, Vec<u8>, &str)],
) {
    let mut wrong = Vec::new();
    let mut modality = ward.associated_by(request, says);
    let before = ward.archive.stored().len();
    for (what, set, data, gets) in attacks {
        let said = modality.ask(set, Some(data));
        if said != *gets {
            wrong.push(format!("{what}: {said}, not {gets}"));
        }
        if !said.starts_with("status") {
            modality = ward.associated_by(request, says);
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(
        ward.archive.stored().len(),
        before,
        "objects in the archive"
    );
    ward.stores(&mut modality, before);
}

/// Images with one fault in the data set.
#[track_caller]
fn images_refused(ward: &Ward<'_>, attacks: Vec<(&str, Vec<u8>, &str)>) {
    let attacks: Vec<_> = attacks
        .into_iter()
        .map(|(what, data, gets)| (what, command(&store(1, US, &instance(1))), data, gets))
        .collect();
    refused(ward, &attacks);
}

/// The image that [`images_refused`] announces, to be broken.
fn image() -> DataSet {
    DataSet::image(&instance(1))
}

/// Bytes on connections of their own, each with all that comes back until the end.
/// No packet of them, not even of a connection, leaves for the archive.
#[track_caller]
fn broken(ward: &Ward<'_>, attacks: &[(&str, Vec<u8>, &[&str])]) {
    let watch = Watch::start(ward.lab, Place::Hospital, "eth0");
    let mut wrong = Vec::new();
    for (what, bytes, gets) in attacks {
        let mut modality = ward.dial();
        let _ = modality.send(bytes);
        let got: Vec<String> = gets.iter().map(|_| modality.hears()).collect();
        if got != *gets {
            wrong.push(format!("{what}: {got:?}, not {gets:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(watch.stop().packets_to(PACS), 0, "packets to the archive");
}

/// Bytes inside of associations that were granted, each with all that comes back until the end.
#[track_caller]
fn broken_inside(ward: &Ward<'_>, attacks: &[(&str, Vec<u8>, &[&str])]) {
    let mut wrong = Vec::new();
    for (what, bytes, gets) in attacks {
        let mut modality = ward.associated();
        let _ = modality.send(bytes);
        let got: Vec<String> = gets.iter().map(|_| modality.hears()).collect();
        if got != *gets {
            wrong.push(format!("{what}: {got:?}, not {gets:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    ward.has_stored(0);
    ward.stores(&mut ward.associated(), 0);
}

fn instance(number: usize) -> String {
    format!("{}.1.{number}", e2e::modality::ROOT)
}
