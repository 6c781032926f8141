//! One segment: fields, repetitions, components and subcomponents as views over the bytes.

use super::delimiters::Delimiters;

/// One segment of a message, without its carriage return.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    name: &'a str,
    offset: usize,
    occurrence: usize,
    delimiters: Delimiters,
}

impl<'a> Segment<'a> {
    pub(crate) fn new(
        bytes: &'a [u8],
        name: &'a str,
        offset: usize,
        occurrence: usize,
        delimiters: Delimiters,
    ) -> Self {
        Self {
            bytes,
            name,
            offset,
            occurrence,
            delimiters,
        }
    }

    /// The three characters at its start.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Which of the segments of this name, from 1.
    #[must_use]
    pub fn occurrence(&self) -> usize {
        self.occurrence
    }

    /// Where it begins in the message.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Its bytes, name included.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// A field by its number in the standard; absent fields are empty. MSH-1 is the separator itself.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'a> {
        let separator = self.delimiters.field;
        let bytes = if self.name == "MSH" {
            match number {
                0 => Some(self.bytes),
                1 => self.bytes.get(3..4),
                _ => self.nth(number.saturating_sub(1)),
            }
        } else {
            self.nth(number)
        };
        debug_assert!(number == 1 || bytes.is_none_or(|b| !b.contains(&separator)));
        Field {
            bytes: bytes.unwrap_or_default(),
            delimiters: self.delimiters,
        }
    }

    fn nth(&self, number: usize) -> Option<&'a [u8]> {
        let separator = self.delimiters.field;
        self.bytes.split(|b| *b == separator).nth(number)
    }
}

/// One field with all its repetitions.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    bytes: &'a [u8],
    delimiters: Delimiters,
}

impl<'a> Field<'a> {
    pub(crate) fn new(bytes: &'a [u8], delimiters: Delimiters) -> Self {
        Self { bytes, delimiters }
    }

    /// The bytes as they stand in the message.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is a value: neither nothing nor the null `""`, nor delimiters alone.
    #[must_use]
    pub fn is_valued(&self) -> bool {
        self.bytes != b"\"\"" && self.bytes.iter().any(|b| !self.delimiters.contains(*b))
    }

    /// The repetitions, at least one.
    pub fn repetitions(&self) -> impl Iterator<Item = Self> + use<'a> {
        let delimiters = self.delimiters;
        self.bytes
            .split(move |b| *b == delimiters.repetition)
            .map(move |bytes| Self { bytes, delimiters })
    }

    /// The components of the first repetition, at least one.
    pub fn components(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let delimiters = self.delimiters;
        self.bytes
            .split(move |b| *b == delimiters.repetition)
            .take(1)
            .flat_map(move |r| r.split(move |b| *b == delimiters.component))
    }

    /// A component of the first repetition, from 1; absent ones are empty.
    #[must_use]
    pub fn component(&self, number: usize) -> &'a [u8] {
        let d = &self.delimiters;
        let is_end = |b: &u8| *b == d.component || *b == d.repetition;
        let mut rest = self.bytes;
        for _ in 1..number {
            let end = rest.iter().position(is_end);
            let Some((delimiter, behind)) = end.and_then(|end| rest.get(end..)?.split_first())
            else {
                return &[];
            };
            if *delimiter == d.repetition {
                return &[];
            }
            rest = behind;
        }
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        rest.get(..length).unwrap_or_default()
    }

    /// The subcomponents of a component of the first repetition.
    pub fn subcomponents(&self, component: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let separator = self.delimiters.subcomponent;
        self.component(component).split(move |b| *b == separator)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use crate::Limits;

    #[test]
    fn views_fields_by_the_standards_numbers() {
        let text = b"MSH|^~\\&|APP|FAC^1.2^ISO\rPID|1||a^b&c~d|\"\"|^^\r";
        let message = Message::parse(text, &Limits::default()).unwrap();
        let msh = message.segments().next().unwrap();
        assert_eq!(msh.field(1).bytes(), b"|");
        assert_eq!(msh.field(2).bytes(), b"^~\\&");
        assert_eq!(msh.field(3).bytes(), b"APP");
        assert_eq!(msh.field(4).component(2), b"1.2");
        assert_eq!(msh.field(40).bytes(), b"");
        let pid = message.segments().nth(1).unwrap();
        assert_eq!(pid.field(3).repetitions().count(), 2);
        assert_eq!(pid.field(3).subcomponents(2).nth(1), Some(&b"c"[..]));
        assert!(pid.field(3).is_valued() && !pid.field(2).is_valued());
        assert!(!pid.field(4).is_valued() && !pid.field(5).is_valued());
    }
}
