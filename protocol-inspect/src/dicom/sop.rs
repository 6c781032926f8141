//! Which DIMSE services a SOP class is used with, and which SOP classes a meta SOP class stands for (PS3.4).

use dicom_dictionary_std::uids;

/// A coarse sorting of SOP classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Verification,
    Storage,
    Find,
    Move,
    Get,
    /// Everything else: N-services, and classes that came after this program.
    Other,
}

impl Kind {
    pub(super) fn of(sop_class: &str) -> Self {
        if sop_class == uids::VERIFICATION {
            return Self::Verification;
        }
        if FIND.contains(&sop_class) {
            return Self::Find;
        }
        if let Some(model) = sop_class.strip_prefix(QUERY_RETRIEVE) {
            return match model.rsplit_once('.') {
                Some((_, "1")) => Self::Find,
                Some((_, "2")) => Self::Move,
                Some((_, "3")) => Self::Get,
                Some(_) | None => Self::Other,
            };
        }
        if NOT_STORAGE.contains(&sop_class) {
            return Self::Other;
        }
        if sop_class.starts_with(STORAGE) || OTHER_STORAGE.contains(&sop_class) {
            return Self::Storage;
        }
        Self::Other
    }

    /// Whether contexts of this kind serve the DIMSE service; C-GET brings objects back by C-STORE.
    pub(super) fn uses(self, service: &str) -> bool {
        match self {
            Self::Verification => service == "C-ECHO",
            Self::Storage => matches!(service, "C-STORE" | "C-GET"),
            Self::Find => service == "C-FIND",
            Self::Move => service == "C-MOVE",
            Self::Get => service == "C-GET",
            Self::Other => service != "C-ECHO",
        }
    }
}

/// Whether a message about `sop_class` may travel in a context of this abstract syntax.
pub(super) fn travels_in(sop_class: &str, abstract_syntax: &str) -> bool {
    if sop_class == abstract_syntax {
        return true;
    }
    // Unified procedure step: all classes are about instances of the push class (PS3.4 CC.2).
    if sop_class == UPS_PUSH {
        return UPS.contains(&abstract_syntax);
    }
    let members: &[&str] = match abstract_syntax {
        uids::BASIC_GRAYSCALE_PRINT_MANAGEMENT_META => &GRAYSCALE_PRINT,
        uids::BASIC_COLOR_PRINT_MANAGEMENT_META => &COLOR_PRINT,
        _ => &[],
    };
    members.contains(&sop_class)
}

const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";
const QUERY_RETRIEVE: &str = "1.2.840.10008.5.1.4.1.2.";
/// Queries and retrievals that the standard numbers among the storage classes.
const NOT_STORAGE: [&str; 8] = [
    uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_FIND,
    uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_MOVE,
    uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_GET,
    uids::INVENTORY_FIND,
    uids::INVENTORY_MOVE,
    uids::INVENTORY_GET,
    uids::INVENTORY_CREATION,
    uids::REPOSITORY_QUERY,
];
/// Storage classes with other numbers: non-patient objects and delivery instructions.
const OTHER_STORAGE: [&str; 7] = [
    uids::RT_BEAMS_DELIVERY_INSTRUCTION_STORAGE,
    uids::RT_BRACHY_APPLICATION_SETUP_DELIVERY_INSTRUCTION_STORAGE,
    uids::HANGING_PROTOCOL_STORAGE,
    uids::COLOR_PALETTE_STORAGE,
    uids::GENERIC_IMPLANT_TEMPLATE_STORAGE,
    uids::IMPLANT_ASSEMBLY_TEMPLATE_STORAGE,
    uids::IMPLANT_TEMPLATE_GROUP_STORAGE,
];
/// Worklists and queries outside of query/retrieve.
const FIND: [&str; 4] = [
    uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND,
    uids::GENERAL_RELEVANT_PATIENT_INFORMATION_QUERY,
    uids::BREAST_IMAGING_RELEVANT_PATIENT_INFORMATION_QUERY,
    uids::CARDIAC_RELEVANT_PATIENT_INFORMATION_QUERY,
];
const UPS_PUSH: &str = uids::UNIFIED_PROCEDURE_STEP_PUSH;
const UPS: [&str; 4] = [
    uids::UNIFIED_PROCEDURE_STEP_WATCH,
    uids::UNIFIED_PROCEDURE_STEP_PULL,
    uids::UNIFIED_PROCEDURE_STEP_EVENT,
    uids::UNIFIED_PROCEDURE_STEP_QUERY,
];
/// Film session, film box, grayscale image box, printer.
const GRAYSCALE_PRINT: [&str; 4] = [
    "1.2.840.10008.5.1.1.1",
    "1.2.840.10008.5.1.1.2",
    "1.2.840.10008.5.1.1.4",
    "1.2.840.10008.5.1.1.16",
];
/// Film session, film box, color image box, printer.
const COLOR_PRINT: [&str; 4] = [
    "1.2.840.10008.5.1.1.1",
    "1.2.840.10008.5.1.1.2",
    "1.2.840.10008.5.1.1.4.1",
    "1.2.840.10008.5.1.1.16",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_services() {
        for (uid, service, uses) in [
            ("1.2.840.10008.1.1", "C-ECHO", true),
            ("1.2.840.10008.1.1", "C-STORE", false),
            ("1.2.840.10008.5.1.4.1.1.2", "C-STORE", true),
            ("1.2.840.10008.5.1.4.1.1.2", "C-GET", true),
            ("1.2.840.10008.5.1.4.1.1.2", "C-FIND", false),
            ("1.2.840.10008.5.1.4.1.2.1.1", "C-FIND", true),
            ("1.2.840.10008.5.1.4.1.2.2.2", "C-MOVE", true),
            ("1.2.840.10008.5.1.4.1.2.2.3", "C-MOVE", false),
            ("1.2.840.10008.5.1.4.31", "C-FIND", true),
            ("1.2.840.10008.3.1.2.3.3", "N-CREATE", true),
            ("1.2.840.10008.3.1.2.3.3", "C-ECHO", false),
        ] {
            assert_eq!(Kind::of(uid).uses(service), uses, "{uid} {service}");
        }
    }

    #[test]
    fn meta_classes_carry_their_members() {
        assert!(travels_in("1.2.840.10008.5.1.1.2", "1.2.840.10008.5.1.1.9"));
        assert!(!travels_in(
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.5.1.1.9"
        ));
        assert!(travels_in(UPS_PUSH, "1.2.840.10008.5.1.4.34.6.3"));
        assert!(!travels_in("1.2.840.10008.5.1.4.34.6.3", UPS_PUSH));
    }
}
