//! What PS3.3 says of information objects: SOP class, modules, attributes at every level, conditions, enumerated values.
//!
//! In: the UID of a SOP class. Out: views over tables that are compiled in; nothing is built or allocated.
//! Knows nothing of data sets and judges nothing. Where the facts come from: `data/dicom_iod/PROVENANCE.md`.
//!
//! # Format of `tables.bin`
//!
//! All numbers are little-endian. The head is `IODT`, the CRC-32 of all that follows, a format number and the count of
//! sections (u16 each), the number of the last rule that asks for an attribute (u16, 2 free), and per section its offset and its count of records (u32 each). Where a record names another by
//! its number, numbers begin with 1, and 0 is none; only IODs begin with 0.
//!
//! | section | record (u16 each, if nothing else is said) |
//! |---|---|
//! | SOP classes | UID as string, IOD; sorted by UID |
//! | IODs | first and count in modules, first and count in overrides |
//! | modules | level, condition, name as string, usage (bits 0–3) and what holds otherwise (from bit 4) |
//! | overrides | tag (u32), level: what several modules of the IOD say alike of a sequence; sorted |
//! | levels | first and count in rows |
//! | rows | tag (u32), rule, level of the items; sorted by tag within a level |
//! | rules | type (u8), what holds otherwise (u8), condition, values, watch |
//! | conditions | first and count in codes; if it is simple, tag (u32) and bits of which one must be set (u64) |
//! | codes | a test to push, or 8001H and, 8002H or, 8003H not |
//! | tests | tag (u32), bit of the attribute's state (u8), 1 free |
//! | watches | first and count in atoms: what conditions ask of an attribute, from bit 2 on |
//! | atoms | component or 0 for any (u8), 1 equal or 2 greater (u8), string |
//! | values | first and count in parts |
//! | parts | component or 0 for each (u8), 1 free, first and count in terms |
//! | terms | string |
//! | strings | where each begins in the bytes, and where the last ends (u32) |
//! | bytes | ASCII |
//! | groups | IOD, type as that of a rule, tag (u32): the functional groups that every frame must have; sorted by IOD |
//!
//! Equal levels, rules and conditions are stored once. The items of a content tree are of the level that holds them.

use super::blob;

/// An information object definition (PS3.3 annex A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Iod(&'static [u8; 8]);

impl Iod {
    /// How many there are.
    pub(super) fn count() -> usize {
        blob::IODS.len()
    }

    /// The one of a SOP class.
    #[cfg(test)]
    pub(super) fn of(sop_class: &str) -> Option<Self> {
        Self::get(Self::number(sop_class)?)
    }

    /// The number of the one of a SOP class.
    pub(super) fn number(sop_class: &str) -> Option<usize> {
        let uid = |[a, b, _, _]: &[u8; 4]| blob::string(u16::from_le_bytes([*a, *b]));
        let found = blob::SOP_CLASSES.binary_search_by(|record| uid(record).cmp(sop_class));
        let [_, _, c, d] = blob::SOP_CLASSES.get(found.ok()?)?;
        Some(usize::from(u16::from_le_bytes([*c, *d])))
    }

    pub(super) fn get(number: usize) -> Option<Self> {
        blob::IODS.get(number).map(Self)
    }

    /// Its modules, in the order of the standard.
    pub(super) fn modules(self) -> impl Iterator<Item = Module> {
        let [a, b, c, d, ..] = *self.0;
        let records = blob::slice(
            blob::MODULES,
            u16::from_le_bytes([a, b]),
            u16::from_le_bytes([c, d]),
        );
        records.iter().map(Module)
    }

    /// The level of the items of a sequence that several modules have.
    pub(super) fn items_of(self, tag: u32) -> Option<LevelId> {
        let [.., e, f, g, h] = *self.0;
        let records = blob::slice(
            blob::OVERRIDES,
            u16::from_le_bytes([e, f]),
            u16::from_le_bytes([g, h]),
        );
        let tag_of = |[a, b, c, d, _, _]: &[u8; 6]| u32::from_le_bytes([*a, *b, *c, *d]);
        let found = records.binary_search_by_key(&tag, tag_of).ok()?;
        let [.., e, f] = *records.get(found)?;
        Some(LevelId(u16::from_le_bytes([e, f])))
    }
}

/// The functional groups that every frame of an instance of this SOP class must have, by macro (PS3.3 A.1.4).
pub(super) fn groups(sop_class: &str) -> impl Iterator<Item = Group> {
    let iod = Iod::number(sop_class);
    let number = |[a, b, ..]: &[u8; 8]| usize::from(u16::from_le_bytes([*a, *b]));
    let own = blob::GROUPS
        .iter()
        .filter(move |record| Some(number(record)) == iod);
    own.map(|[_, _, c, _, e, f, g, h]| Group {
        tag: u32::from_le_bytes([*e, *f, *g, *h]),
        kind: Type::new(*c),
    })
}

/// The sequence of a functional group macro.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) tag: u32,
    pub(super) kind: Type,
}

/// A module in an IOD.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module(&'static [u8; 8]);

/// Whether an instance has a module (PS3.3 A.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Mandatory,
    Conditional,
    User,
}

impl Module {
    /// Its attributes.
    pub(super) fn level(self) -> LevelId {
        let [a, b, ..] = *self.0;
        LevelId(u16::from_le_bytes([a, b]))
    }

    pub(super) fn condition(self) -> Option<Condition> {
        let [_, _, c, d, ..] = *self.0;
        Condition::new(u16::from_le_bytes([c, d]))
    }

    pub(super) fn usage(self) -> Usage {
        match self.flags() & 0x0f {
            1 => Usage::Mandatory,
            2 => Usage::Conditional,
            _ => Usage::User,
        }
    }

    pub(super) fn otherwise(self) -> Otherwise {
        Otherwise::new(self.flags() >> 4)
    }

    fn flags(self) -> u8 {
        let [.., g, _] = *self.0;
        g
    }
}

/// A set of attributes: a module, or the item of a sequence. 0 has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelId(pub(super) u16);

impl LevelId {
    /// Its attributes, by tag.
    pub(super) fn rows(self) -> &'static [Row] {
        blob::run(blob::LEVELS, blob::ROWS, self.0)
    }
}

/// An attribute at a level.
pub(super) type Row = [u8; 8];

pub(super) fn tag(row: &Row) -> u32 {
    let [a, b, c, d, ..] = *row;
    u32::from_le_bytes([a, b, c, d])
}

pub(super) fn rule(row: &Row) -> RuleId {
    let [.., e, f, _, _] = *row;
    RuleId(u16::from_le_bytes([e, f]))
}

/// The attributes of its items, if it is a sequence.
pub(super) fn items(row: &Row) -> LevelId {
    let [.., g, h] = *row;
    LevelId(u16::from_le_bytes([g, h]))
}

impl RuleId {
    /// Whether it asks nothing of an attribute that is not there. The writer numbers the others first.
    pub(super) fn lets_be_absent(self) -> bool {
        self.0 > blob::DUTIES
    }
}

/// What holds for an attribute at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleId(u16);

/// The same, spelt out.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttributeRule {
    pub(super) kind: Type,
    pub(super) otherwise: Otherwise,
    pub(super) condition: Option<Condition>,
    values: u16,
    watch: u16,
}

/// The type of an attribute (PS3.5 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// 1: present with a value.
    Required,
    /// 1C: present with a value on a condition.
    RequiredIf,
    /// 2: present, perhaps without a value.
    Present,
    /// 2C: present on a condition, perhaps without a value.
    PresentIf,
    /// 3.
    Optional,
}

impl Type {
    fn new(number: u8) -> Self {
        match number {
            1 => Self::Required,
            2 => Self::RequiredIf,
            3 => Self::Present,
            4 => Self::PresentIf,
            _ => Self::Optional,
        }
    }
}

/// What holds for a conditional attribute or module if its condition does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It may be present; also where that is not known.
    MayBePresent,
    /// Nothing is said of it, so PS3.5 7.4.2 and 7.4.4 forbid it.
    Unsaid,
    /// It must not be present, in so many words.
    Forbidden,
}

impl Otherwise {
    fn new(number: u8) -> Self {
        match number {
            1 => Self::Unsaid,
            2 => Self::Forbidden,
            _ => Self::MayBePresent,
        }
    }
}

impl RuleId {
    pub(super) fn get(self) -> Option<AttributeRule> {
        let place = usize::from(self.0).checked_sub(1)?;
        let [kind, otherwise, c, d, e, f, g, h] = *blob::RULES.get(place)?;
        Some(AttributeRule {
            kind: Type::new(kind),
            otherwise: Otherwise::new(otherwise),
            condition: Condition::new(u16::from_le_bytes([c, d])),
            values: u16::from_le_bytes([e, f]),
            watch: u16::from_le_bytes([g, h]),
        })
    }
}

impl AttributeRule {
    /// Enumerated values: for each component that has some, which one (0: each) and what it may be.
    pub(super) fn values(
        &self,
    ) -> impl Iterator<Item = (u8, impl Iterator<Item = &'static [u8]> + use<>)> + use<> {
        let parts = blob::run(blob::VALUES, blob::PARTS, self.values);
        parts.iter().map(|[component, _, c, d, e, f]| {
            let first = u16::from_le_bytes([*c, *d]);
            let terms = blob::slice(blob::TERMS, first, u16::from_le_bytes([*e, *f]));
            let text = |term: &[u8; 2]| blob::text(u16::from_le_bytes(*term));
            (*component, terms.iter().map(text))
        })
    }

    pub(super) fn has_values(&self) -> bool {
        self.values != 0
    }

    /// What conditions ask of its value, in the order of bits.
    pub(super) fn watched(&self) -> impl Iterator<Item = Atom> + use<> {
        let atoms = blob::run(blob::WATCHES, blob::ATOMS, self.watch);
        atoms.iter().map(|[component, how, c, d]| Atom {
            component: *component,
            greater: *how == 2,
            text: blob::text(u16::from_le_bytes([*c, *d])),
        })
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch != 0
    }
}

/// A question about a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Atom {
    /// From 1 on; 0 for any.
    pub(super) component: u8,
    /// Whether it must be greater than the number, not equal to the text.
    pub(super) greater: bool,
    pub(super) text: &'static [u8],
}

/// The condition of an attribute or module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition(u16);

/// A step of a condition, to be taken with a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Whether this bit of the attribute's state is set.
    Test {
        tag: u32,
        bit: u8,
    },
    And,
    Or,
    Not,
}

impl Condition {
    fn new(number: u16) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The attribute and the bits of which any must be set, if that is all.
    pub(super) fn simple(self) -> Option<(u32, u64)> {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l] = *self.record()?;
        let tag = u32::from_le_bytes([a, b, c, d]);
        let mask = u64::from_le_bytes([e, f, g, h, i, j, k, l]);
        (tag != 0).then_some((tag, mask))
    }

    fn record(self) -> Option<&'static [u8; 16]> {
        blob::CONDITIONS.get(usize::from(self.0).checked_sub(1)?)
    }

    /// At most [`MAX_STACK`] results wait on the stack.
    pub(super) fn steps(self) -> impl Iterator<Item = Step> {
        let codes = self.record().map_or(&[][..], |[a, b, c, d, ..]| {
            let first = u16::from_le_bytes([*a, *b]);
            blob::slice(blob::CODES, first, u16::from_le_bytes([*c, *d]))
        });
        codes
            .iter()
            .filter_map(|code| match u16::from_le_bytes(*code) {
                0x8001 => Some(Step::And),
                0x8002 => Some(Step::Or),
                0x8003 => Some(Step::Not),
                test => {
                    let place = usize::from(test).checked_sub(1)?;
                    let [a, b, c, d, bit, _] = *blob::TESTS.get(place)?;
                    let tag = u32::from_le_bytes([a, b, c, d]);
                    Some(Step::Test { tag, bit })
                }
            })
    }
}

/// More than any condition of the tables needs.
pub(super) const MAX_STACK: usize = 8;
