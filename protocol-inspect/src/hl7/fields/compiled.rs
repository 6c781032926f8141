//! The fields of one version as the walk needs them: everything that can be looked up is looked up before.
//!
//! In: the grammar. Out: [`Compiled`], built once for each version that any message names, and never changed:
//! at most one for each version of the standard, however many messages come.
//! Knows nothing of messages.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::super::grammar::{self, DataTypeId, Primitive, SegmentId, Usage, Version};
use super::composite;
use super::datatype::{Shape, Types, goes_on};

/// The segments, data types and tables of one version.
pub(super) struct Compiled {
    segments: Vec<Layout>,
    /// Where a segment is in `segments`, counted from 1, at the slot of its name or the next that was free; 0 is none.
    slots: Vec<u16>,
    kinds: Vec<Kind>,
    elements: Vec<Element>,
    tables: Vec<Codes>,
    /// The kinds that OBX-2 may name, by name.
    named: Vec<(&'static [u8], u16)>,
}

/// The fields of a segment.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) id: SegmentId,
    fields: Run,
    /// The fields that are required, the first in bit 0.
    pub(super) required: u128,
    /// Whether it ends in as many fields as a query has.
    pub(super) open_end: bool,
}

/// Elements side by side.
#[derive(Clone, Copy)]
struct Run {
    start: u16,
    count: u16,
}

/// A field of a segment or a component of a data type.
#[derive(Clone, Copy)]
pub(super) struct Element {
    /// The number of its data type.
    pub(super) kind: u16,
    /// The primitive that stands for it where nothing divides it any more, with its table.
    pub(super) innermost: Option<(Primitive, TableNumber)>,
    /// Its table, if that is closed.
    pub(super) table: TableNumber,
    /// The most characters that it may have.
    pub(super) most: u32,
    pub(super) usage: Usage,
    /// How often it may repeat; 0 has no limit.
    pub(super) repeats: u8,
    /// What is enough for one value that stands in the whole field.
    pub(super) alone: Enough,
    /// What is enough for one value that stands in the whole component.
    pub(super) inside: Enough,
}

/// What a value that no delimiter divides must be so that nothing can be said of it. What is not enough may still be
/// right: the walk then looks at everything.
#[derive(Clone, Copy)]
pub(super) struct Enough {
    pub(super) what: What,
    /// The most bytes.
    pub(super) most: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing is enough: it must be looked at.
    Look,
    /// Any value.
    Any,
    /// One of this primitive.
    Value(Primitive),
    /// A code of this table.
    Code(TableNumber),
}

impl Element {
    /// Whether something is said of it as soon as it has a value.
    #[inline]
    pub(super) fn is_odd(&self) -> bool {
        matches!(self.usage, Usage::Withdrawn | Usage::NotUsed)
    }
}

impl Enough {
    const NEVER: Self = Self {
        what: What::Look,
        most: 0,
    };

    #[inline]
    pub(super) fn of(primitive: Primitive, table: TableNumber, most: u32) -> Self {
        let what = match primitive {
            Primitive::Id if table != 0 => What::Code(table),
            Primitive::Id
            | Primitive::Is
            | Primitive::St
            | Primitive::Tx
            | Primitive::Ft
            | Primitive::Gts
            | Primitive::Tn => What::Any,
            Primitive::Nm
            | Primitive::Si
            | Primitive::Dt
            | Primitive::Tm
            | Primitive::Dtm
            | Primitive::Snm
            | Primitive::Ts => What::Value(primitive),
        };
        Self { what, most }
    }
}

/// A table in its place among those of a version; 0 is none.
pub(super) type TableNumber = u16;

/// A data type.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) form: Form,
    parts: Run,
    /// Which of its components are required, the first in bit 0.
    pub(super) required: u64,
    /// What its components must have to do with each other.
    pub(super) rule: Option<composite::Rule>,
    /// Whether its last component may come as often as it likes.
    is_array: bool,
}

impl Kind {
    /// Where a component is among so many parts.
    #[inline]
    pub(super) fn index(&self, component: usize, parts: usize) -> usize {
        let index = component.saturating_sub(1);
        if self.is_array {
            index.min(parts.saturating_sub(1))
        } else {
            index
        }
    }
}

/// What a data type is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Cannot be judged.
    Opaque,
    /// One value.
    Primitive(Primitive),
    /// Components.
    Composite,
}

/// The codes of a closed table.
struct Codes {
    /// Those of up to eight bytes, as numbers, ascending.
    short: Vec<u64>,
    long: Vec<&'static [u8]>,
}

impl Compiled {
    /// That of a version; built when it is asked for first.
    pub(super) fn of(version: Version) -> &'static Self {
        static ALL: [OnceLock<Compiled>; VERSIONS] = [const { OnceLock::new() }; VERSIONS];
        static NONE: Compiled = Compiled {
            segments: Vec::new(),
            slots: Vec::new(),
            kinds: Vec::new(),
            elements: Vec::new(),
            tables: Vec::new(),
            named: Vec::new(),
        };
        ALL.get(version.number()).map_or(&NONE, |slot| {
            slot.get_or_init(|| Builder::new(version).build())
        })
    }

    pub(super) fn segment(&self, id: SegmentId) -> Option<&Layout> {
        slots(id)
            .map_while(|slot| self.slots.get(slot).copied().filter(|number| *number > 0))
            .filter_map(|number| self.segments.get(usize::from(number).wrapping_sub(1)))
            .find(|layout| layout.id == id)
    }

    /// The fields of a segment.
    pub(super) fn fields(&self, layout: &Layout) -> &[Element] {
        self.run(layout.fields)
    }

    pub(super) fn kind(&self, number: u16) -> &Kind {
        self.kinds.get(usize::from(number)).unwrap_or(&OPAQUE)
    }

    /// The components of a data type.
    pub(super) fn parts(&self, kind: &Kind) -> &[Element] {
        self.run(kind.parts)
    }

    /// The kind that is meant by a name in OBX-2. Senders use types of other versions early and late;
    /// those are judged as the newest version that has them says.
    pub(super) fn kind_named(&self, name: &[u8]) -> &Kind {
        let found = self.named.binary_search_by(|(known, _)| (*known).cmp(name));
        let number = found.ok().and_then(|found| self.named.get(found));
        number.map_or(&OPAQUE, |(_, number)| self.kind(*number))
    }

    /// Whether the standard has a closed list of codes, and this is not among them.
    #[inline]
    pub(super) fn is_unlisted(&self, table: TableNumber, code: &[u8]) -> bool {
        let index = usize::from(table).checked_sub(1);
        let codes = index.and_then(|index| self.tables.get(index));
        codes.is_some_and(|codes| !codes.contain(code))
    }

    fn run(&self, run: Run) -> &[Element] {
        let start = usize::from(run.start);
        let end = start.saturating_add(usize::from(run.count));
        self.elements.get(start..end).unwrap_or_default()
    }
}

impl Codes {
    fn contain(&self, code: &[u8]) -> bool {
        match number(code) {
            Some(number) if self.short.len() <= FEW => self.short.contains(&number),
            Some(number) => self.short.binary_search(&number).is_ok(),
            None => self.long.binary_search(&code).is_ok(),
        }
    }
}

/// A code of up to eight bytes as a number. None of them has a NUL.
fn number(code: &[u8]) -> Option<u64> {
    (code.len() <= 8).then(|| {
        let push = |number: u64, byte: &u8| number.wrapping_shl(8) | u64::from(*byte);
        code.iter().fold(0, push)
    })
}

/// The slots at which a segment may be, in turn.
#[inline]
fn slots(id: SegmentId) -> impl Iterator<Item = usize> {
    let scattered = id.number().wrapping_mul(0x9e37_79b1).wrapping_shr(16);
    let first = usize::try_from(scattered).unwrap_or_default();
    (0..SLOTS).map(move |step| first.wrapping_add(step) % SLOTS)
}

/// Several for each segment that a version has.
const SLOTS: usize = 1_024;

/// What is not known cannot be judged.
pub(super) static OPAQUE: Kind = Kind {
    form: Form::Opaque,
    parts: Run { start: 0, count: 0 },
    required: 0,
    rule: None,
    is_array: false,
};

/// Builds what a version needs.
struct Builder {
    version: Version,
    types: Types,
    out: Compiled,
    /// The numbers of the kinds that are built, by the version whose components they have.
    built: BTreeMap<(usize, DataTypeId), u16>,
    tables: BTreeMap<u16, TableNumber>,
}

impl Builder {
    fn new(version: Version) -> Self {
        Self {
            version,
            types: Types::new(version),
            out: Compiled {
                segments: Vec::new(),
                slots: Vec::new(),
                kinds: vec![OPAQUE],
                elements: Vec::new(),
                tables: Vec::new(),
                named: Vec::new(),
            },
            built: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    fn build(mut self) -> Compiled {
        for segment in self.version.segments() {
            // A segment without fields is known by its name alone.
            if segment.fields().is_empty() {
                continue;
            }
            let fields = self.run(segment.fields());
            let required = segment
                .fields()
                .iter()
                .zip(0_u32..)
                .filter(|(field, _)| field.usage == Usage::Required)
                .fold(0, |mask, (_, index)| {
                    mask | 1_u128.checked_shl(index).unwrap_or_default()
                });
            let last = segment.field(segment.fields().len());
            self.out.segments.push(Layout {
                id: segment.id(),
                fields,
                required,
                open_end: last.is_some_and(goes_on),
            });
        }
        self.out.slots = vec![0; SLOTS];
        for (layout, number) in self.out.segments.iter().zip(1_u16..) {
            let mut all = slots(layout.id);
            let free = all.find(|slot| self.out.slots.get(*slot) == Some(&0));
            if let Some(slot) = free.and_then(|slot| self.out.slots.get_mut(slot)) {
                *slot = number;
            }
        }
        self.name();
        self.out
    }

    /// The kinds by their names: of this version, else of the newest that has them.
    fn name(&mut self) {
        let mut named = BTreeMap::new();
        for version in Version::all().chain([self.version]) {
            for data_type in version.data_types() {
                named.insert(data_type.id(), version);
            }
        }
        let mut names = Vec::new();
        for (id, version) in named {
            names.push((id.name().as_bytes(), self.kind(version, id)));
        }
        names.sort_unstable();
        self.out.named = names;
    }

    fn kind(&mut self, version: Version, id: DataTypeId) -> u16 {
        let key = (version.number(), id);
        if let Some(number) = self.built.get(&key) {
            return *number;
        }
        let kind = match self.types.shape_in(version, id) {
            None | Some(Shape::Opaque) => OPAQUE,
            Some(Shape::Primitive(primitive)) => Kind {
                form: Form::Primitive(primitive),
                ..OPAQUE
            },
            Some(Shape::Composite(parts)) => Kind {
                form: Form::Composite,
                parts: self.run(parts.fields),
                required: parts.required,
                rule: parts.rule,
                is_array: parts.is_array,
            },
            Some(Shape::TimeStamp(parts)) => {
                let run = self.run(parts.fields);
                let time = self.push(Kind {
                    form: Form::Primitive(Primitive::Ts),
                    ..OPAQUE
                });
                if let Some(first) = self.out.elements.get_mut(usize::from(run.start)) {
                    first.kind = time;
                    first.inside = Enough::of(Primitive::Ts, 0, first.most);
                }
                Kind {
                    form: Form::Composite,
                    parts: run,
                    required: parts.required,
                    ..OPAQUE
                }
            }
        };
        let number = self.push(kind);
        self.built.insert(key, number);
        number
    }

    fn push(&mut self, kind: Kind) -> u16 {
        self.out.kinds.push(kind);
        u16::try_from(self.out.kinds.len().saturating_sub(1)).unwrap_or_default()
    }

    /// Data types are as deep as they are nested in the grammar, which no type of its own is part of.
    fn run(&mut self, fields: grammar::Fields) -> Run {
        let elements: Vec<Element> = fields.iter().map(|field| self.element(field)).collect();
        let start = u16::try_from(self.out.elements.len()).unwrap_or(u16::MAX);
        let count = u16::try_from(elements.len()).unwrap_or_default();
        self.out.elements.extend(elements);
        Run { start, count }
    }

    fn element(&mut self, field: grammar::Field) -> Element {
        let kind = self.kind(self.version, field.data_type);
        let innermost = self.types.innermost(field);
        let mut element = Element {
            kind,
            innermost: innermost.map(|(primitive, table)| (primitive, self.table(table))),
            table: self.table(field.table),
            most: self.types.most(field),
            usage: field.usage,
            repeats: if goes_on(field) { 0 } else { field.repeats },
            alone: Enough::NEVER,
            inside: Enough::NEVER,
        };
        element.inside = self.inside(&element);
        element.alone = self.alone(&element);
        element
    }

    fn inside(&self, part: &Element) -> Enough {
        let kind = self.out.kind(part.kind);
        match kind.form {
            Form::Opaque => Enough {
                what: What::Any,
                most: part.most,
            },
            Form::Primitive(primitive) => Enough::of(primitive, part.table, part.most),
            Form::Composite if self.needs_more(kind) => Enough::NEVER,
            Form::Composite => match part.innermost {
                Some((primitive, table)) => Enough::of(primitive, table, part.most),
                None => Enough {
                    what: What::Any,
                    most: part.most,
                },
            },
        }
    }

    fn alone(&self, field: &Element) -> Enough {
        if field.is_odd() {
            return Enough::NEVER;
        }
        let kind = self.out.kind(field.kind);
        if kind.form != Form::Composite {
            return field.inside;
        }
        match self.out.parts(kind).first() {
            Some(part) if !self.needs_more(kind) => Enough {
                what: part.inside.what,
                most: part.inside.most.min(field.most),
            },
            Some(_) | None => Enough::NEVER,
        }
    }

    /// Whether a composite with its first component alone is not enough.
    fn needs_more(&self, kind: &Kind) -> bool {
        let doubted = kind.rule.is_some_and(|rule| !rule.allows(1));
        doubted || kind.required & !1 != 0 || self.out.parts(kind).is_empty()
    }

    fn table(&mut self, number: u16) -> TableNumber {
        if let Some(known) = self.tables.get(&number) {
            return *known;
        }
        let Some(table) = self.types.closed_table(number) else {
            return 0;
        };
        let codes = || table.codes().map(str::as_bytes);
        let mut short: Vec<u64> = codes().filter_map(self::number).collect();
        let mut long: Vec<&[u8]> = codes().filter(|c| self::number(c).is_none()).collect();
        short.sort_unstable();
        long.sort_unstable();
        self.out.tables.push(Codes { short, long });
        let known = u16::try_from(self.out.tables.len()).unwrap_or_default();
        self.tables.insert(number, known);
        known
    }
}

/// How many versions the grammar has.
const VERSIONS: usize = 13;

/// Up to here a search from the front is the fastest.
const FEW: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked up before is what would be looked up now.
    #[test]
    fn nothing_is_lost_when_a_version_is_compiled() {
        for version in Version::all() {
            let compiled = Compiled::of(version);
            let types = Types::new(version);
            // Each component has a bit of its own.
            assert!(compiled.kinds.iter().all(|kind| kind.parts.count < 64));
            assert!(compiled.elements.len() < 60_000, "{version:?}");
            for segment in version.segments().filter(|s| !s.fields().is_empty()) {
                let layout = compiled.segment(segment.id()).unwrap();
                let elements = compiled.fields(layout);
                assert_eq!(elements.len(), segment.fields().len());
                for (element, field) in elements.iter().zip(segment.fields().iter()) {
                    same(compiled, &types, element, field, 0);
                }
            }
            for table in version.tables() {
                let Some(closed) = types.closed_table(table.number()) else {
                    continue;
                };
                let builder = &mut Builder::new(version);
                let number = builder.table(table.number());
                for code in closed.codes() {
                    assert!(!builder.out.is_unlisted(number, code.as_bytes()), "{code}");
                    let other = format!("{code}\u{1}");
                    assert!(builder.out.is_unlisted(number, other.as_bytes()));
                }
            }
        }
        assert_eq!(Version::all().count(), VERSIONS);
    }

    fn same(
        compiled: &Compiled,
        types: &Types,
        element: &Element,
        field: grammar::Field,
        depth: usize,
    ) {
        let kind = compiled.kind(element.kind);
        let parts = compiled.parts(kind);
        assert!(depth < 8);
        match types.shape(field) {
            Shape::Opaque => assert!(kind.form == Form::Opaque),
            Shape::Primitive(primitive) => assert!(kind.form == Form::Primitive(primitive)),
            Shape::Composite(known) => {
                assert!(kind.form == Form::Composite && kind.required == known.required);
                assert_eq!(parts.len(), known.fields.len());
                for (part, field) in parts.iter().zip(known.fields.iter()) {
                    same(compiled, types, part, field, depth + 1);
                }
            }
            Shape::TimeStamp(known) => {
                let time = compiled.kind(parts[0].kind);
                assert!(time.form == Form::Primitive(Primitive::Ts));
                assert_eq!(parts.len(), known.fields.len());
            }
        }
        let innermost = types.innermost(field);
        assert_eq!(
            element.innermost.map(|(primitive, _)| primitive),
            innermost.map(|(primitive, _)| primitive)
        );
        assert_eq!(element.table > 0, types.closed_table(field.table).is_some());
    }
}
