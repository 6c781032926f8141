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

/// Whether the DIMSE service is one of this SOP class.
/// Classes that are private or came after this program may use any but C-ECHO.
pub(super) fn serves(sop_class: &str, service: &str) -> bool {
    match NORMALIZED.iter().find(|(uid, _)| *uid == sop_class) {
        Some((_, services)) => services.contains(&service),
        None => Kind::of(sop_class).uses(service),
    }
}

/// Whether objects of this SOP class can be stored.
#[must_use]
pub fn is_storage(sop_class: &str) -> bool {
    Kind::of(sop_class) == Kind::Storage
}

/// Storage Commitment Push Model (PS3.4 annex J).
pub const STORAGE_COMMITMENT: &str = uids::STORAGE_COMMITMENT_PUSH_MODEL;
/// Modality Performed Procedure Step (PS3.4 F.7).
pub const PERFORMED_PROCEDURE_STEP: &str = uids::MODALITY_PERFORMED_PROCEDURE_STEP;

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

/// Whether identifiers of this class have a Query/Retrieve Level (PS3.4 C.6).
pub(super) fn has_level(sop_class: &str) -> bool {
    sop_class.starts_with(QUERY_RETRIEVE)
}

/// Whether Patient ID is a unique key of each retrieval of this class, so that it brings nobody else's (PS3.4 C.6.1.1).
/// With other roots it is no unique key, and a destination passes over it.
pub(super) fn retrieves_by_patient(sop_class: &str) -> bool {
    let model = sop_class.strip_prefix(QUERY_RETRIEVE);
    model.is_some_and(|model| model.starts_with("1.") || model.starts_with("3."))
}

/// Whether a new instance of this normalized class says about whom it is: procedure steps do (PS3.4 F.7, CC.2.5).
pub(super) fn is_about_a_patient(sop_class: &str) -> bool {
    [uids::MODALITY_PERFORMED_PROCEDURE_STEP, UPS_PUSH].contains(&sop_class)
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
/// What normalized SOP classes, and those that mix both, are used with (PS3.4 F, H, J, R, S, V, CC).
/// Notifications of print classes belong to the classes themselves.
const NORMALIZED: [(&str, &[&str]); 35] = [
    (
        uids::STORAGE_COMMITMENT_PUSH_MODEL,
        &["N-ACTION", "N-EVENT-REPORT"],
    ),
    (
        uids::MODALITY_PERFORMED_PROCEDURE_STEP,
        &["N-CREATE", "N-SET"],
    ),
    (uids::MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE, &["N-GET"]),
    (
        uids::MODALITY_PERFORMED_PROCEDURE_STEP_NOTIFICATION,
        &["N-EVENT-REPORT"],
    ),
    (uids::INSTANCE_AVAILABILITY_NOTIFICATION, &["N-CREATE"]),
    (uids::PROCEDURAL_EVENT_LOGGING, &["N-ACTION"]),
    (uids::SUBSTANCE_ADMINISTRATION_LOGGING, &["N-ACTION"]),
    (
        uids::MEDIA_CREATION_MANAGEMENT,
        &["N-CREATE", "N-ACTION", "N-GET"],
    ),
    (uids::DISPLAY_SYSTEM, &["N-GET"]),
    (
        uids::UNIFIED_PROCEDURE_STEP_PUSH,
        &["N-CREATE", "N-ACTION", "N-GET"],
    ),
    (
        uids::UNIFIED_PROCEDURE_STEP_WATCH,
        &["C-FIND", "N-ACTION", "N-GET", "C-CANCEL"],
    ),
    (
        uids::UNIFIED_PROCEDURE_STEP_PULL,
        &["C-FIND", "N-GET", "N-SET", "N-ACTION", "C-CANCEL"],
    ),
    (uids::UNIFIED_PROCEDURE_STEP_EVENT, &["N-EVENT-REPORT"]),
    (uids::UNIFIED_PROCEDURE_STEP_QUERY, &["C-FIND", "C-CANCEL"]),
    (uids::RT_CONVENTIONAL_MACHINE_VERIFICATION, &VERIFICATION),
    (uids::RT_ION_MACHINE_VERIFICATION, &VERIFICATION),
    (
        uids::BASIC_FILM_SESSION,
        &["N-CREATE", "N-SET", "N-DELETE", "N-ACTION"],
    ),
    (
        uids::BASIC_FILM_BOX,
        &["N-CREATE", "N-SET", "N-DELETE", "N-ACTION"],
    ),
    (uids::BASIC_GRAYSCALE_IMAGE_BOX, &["N-SET"]),
    (uids::BASIC_COLOR_IMAGE_BOX, &["N-SET"]),
    (uids::BASIC_ANNOTATION_BOX, &["N-SET"]),
    (uids::PRINT_JOB, &["N-GET", "N-EVENT-REPORT"]),
    (uids::PRINTER, &["N-GET", "N-EVENT-REPORT"]),
    (uids::PRINTER_CONFIGURATION_RETRIEVAL, &["N-GET"]),
    (uids::PRESENTATION_LUT, &["N-CREATE", "N-GET", "N-DELETE"]),
    (uids::BASIC_GRAYSCALE_PRINT_MANAGEMENT_META, &PRINT),
    (uids::BASIC_COLOR_PRINT_MANAGEMENT_META, &PRINT),
    (
        uids::INVENTORY_CREATION,
        &["N-CREATE", "N-GET", "N-ACTION", "N-EVENT-REPORT"],
    ),
    (uids::REPOSITORY_QUERY, &["C-FIND", "C-CANCEL"]),
    (
        uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_FIND,
        &["C-FIND", "C-CANCEL"],
    ),
    (
        uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_MOVE,
        &["C-MOVE", "C-CANCEL"],
    ),
    (
        uids::PROTOCOL_APPROVAL_INFORMATION_MODEL_GET,
        &["C-GET", "C-CANCEL"],
    ),
    (uids::INVENTORY_FIND, &["C-FIND", "C-CANCEL"]),
    (uids::INVENTORY_MOVE, &["C-MOVE", "C-CANCEL"]),
    (uids::INVENTORY_GET, &["C-GET", "C-CANCEL"]),
];
const VERIFICATION: [&str; 6] = [
    "N-CREATE",
    "N-SET",
    "N-GET",
    "N-ACTION",
    "N-EVENT-REPORT",
    "N-DELETE",
];
/// A meta SOP class carries all services of its members.
const PRINT: [&str; 6] = [
    "N-CREATE",
    "N-SET",
    "N-DELETE",
    "N-ACTION",
    "N-GET",
    "N-EVENT-REPORT",
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
            ("1.2.840.10008.3.1.2.3.3", "N-DELETE", false),
            ("1.2.840.10008.1.20.1", "N-ACTION", true),
            ("1.2.840.10008.1.20.1", "N-CREATE", false),
            ("1.2.3.4", "N-CREATE", true),
            ("1.2.3.4", "C-STORE", true),
            ("1.2.840.10008.1.20.1", "C-STORE", false),
            ("1.2.840.10008.5.1.4.1.1.200.4", "C-STORE", false),
            ("1.2.840.10008.5.1.4.1.1.200.4", "C-FIND", true),
            ("1.2.3.4", "C-ECHO", false),
        ] {
            assert_eq!(serves(uid, service), uses, "{uid} {service}");
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
