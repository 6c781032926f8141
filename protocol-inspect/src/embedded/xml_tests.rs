//! XML: a table of twins, bounds, and a comparison with an independent parser.

use proptest::prelude::*;

use super::*;

fn say(text: &str) -> String {
    match judge(text.as_bytes(), false) {
        Ok(root) => format!("<{}>", String::from_utf8_lossy(root)),
        Err(wrong) => wrong.detail.trim_start_matches("is XML ").to_owned(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of twins")]
fn each_refusal_has_a_twin() {
    for (good, bad, detail) in [
        ("<a/>", "", "without a root element"),
        ("<a></a>", "<a>", "that ends within an element"),
        (
            "<a><b/></a>",
            "<a><b></a></b>",
            "with an end of another element than is open",
        ),
        (
            "<a/>",
            "<a/></a>",
            "with an end of another element than is open",
        ),
        ("<a/> ", "<a/><b/>", "with more than one root"),
        ("<a/>\n", "<a/>x", "with text outside of its root element"),
        ("<a b='1'/>", "<a b=1/>", "with an attribute without value"),
        ("<a b='1'/>", "<a b/>", "with an attribute without value"),
        (
            "<a b='1' c=\"2\"/>",
            "<a b='1'c=\"2\"/>",
            "with a malformed tag",
        ),
        (
            "<a b='1' c='2'/>",
            "<a b='1' b='2'/>",
            "with an attribute twice",
        ),
        ("<a b='>'/>", "<a b='<'/>", "with `<` in an attribute"),
        ("<a b='1'/>", "<a b='1/>", "that ends within a value"),
        (
            "<a>&amp;</a>",
            "<a>&b;</a>",
            "with a reference to an entity that nobody declares",
        ),
        (
            "<a>&#x41;&#65;</a>",
            "<a>&#x0;</a>",
            "with a reference to an entity that nobody declares",
        ),
        (
            "<a>&#9;</a>",
            "<a>&#1;</a>",
            "with a reference to an entity that nobody declares",
        ),
        (
            "<a>&#55295;</a>",
            "<a>&#xd800;</a>",
            "with a reference to an entity that nobody declares",
        ),
        (
            "<a>&#x10ffff;</a>",
            "<a>&#x110000;</a>",
            "with a reference to an entity that nobody declares",
        ),
        (
            "<a>&lt;</a>",
            "<a>& lt;</a>",
            "with a reference to an entity that nobody declares",
        ),
        ("<a>]] ></a>", "<a>]]></a>", "with `]]>` in its text"),
        (
            "<a><![CDATA[<&]]></a>",
            "<a><![CDATA[</a>",
            "that ends within a CDATA section",
        ),
        (
            "<a/>",
            "<![CDATA[x]]><a/>",
            "with something else where a name belongs",
        ),
        (
            "<a><!-- - --></a>",
            "<a><!-- -- --></a>",
            "with `--` in a comment",
        ),
        (
            "<a><!----></a>",
            "<a><!-- </a>",
            "that ends within a comment",
        ),
        (
            "<a><?b c?></a>",
            "<a><?b c></a>",
            "that ends within a processing instruction",
        ),
        (
            "<?b?><a/>",
            "<?b=?><a/>",
            "with a malformed processing instruction",
        ),
        (
            "<?xml version='1.0'?><a/>",
            "<a/><?xml version='1.0'?>",
            "with its declaration in another place than the first",
        ),
        (
            "<?xml version='1.0'?><a/>",
            "<?xml ?><a/>",
            "with a malformed declaration",
        ),
        (
            "<?xml version='1.0' encoding='UTF-8'?><a/>",
            "<?xml encoding='UTF-8' version='1.0'?><a/>",
            "with a malformed declaration",
        ),
        (
            "<?xml version='1.1'?><a/>",
            "<?xml version='2.0'?><a/>",
            "with a malformed declaration",
        ),
        (
            "<?xml version='1.0' encoding='iso-8859-1'?><a/>",
            "<?xml version='1.0' encoding='UTF-7'?><a/>",
            "in a character set that is not carried",
        ),
        (
            "<?xml version='1.0' standalone='yes'?><a/>",
            "<?xml version='1.0' standalone='1'?><a/>",
            "with a malformed declaration",
        ),
        (
            "<a:b xmlns:a='u'/>",
            "<1/>",
            "with something else where a name belongs",
        ),
        ("<a>\t</a>", "<a>\u{b}</a>", "with a control byte"),
        ("<a>ä</a>", "<a>\0</a>", "with a control byte"),
        (
            "<?xml-stylesheet href='CDA.xsl'?><a/>",
            "<?xml-stylesheet href='//evil.org/x.xsl'?><a/>",
            "with a style sheet from elsewhere",
        ),
    ] {
        assert_eq!(say(bad), detail, "{bad}");
        assert!(say(good).starts_with('<'), "{good}: {}", say(good));
    }
    assert_eq!(
        say("<cda:ClinicalDocument xmlns:cda='u'/>"),
        "<ClinicalDocument>"
    );
}

#[test]
fn no_document_type_in_any_form() {
    for bad in [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'http://evil.org'>]><a>&b;</a>",
        "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a>&c;</a>",
        "<a><!ENTITY b 'c'></a>",
        "<a><!-- <!DOCTYPE --></a>",
    ] {
        let wrong = judge(bad.as_bytes(), true).unwrap_err();
        assert_eq!(
            (wrong.weight, wrong.detail),
            (Weight::Firm, DOCTYPE),
            "{bad}"
        );
    }
    assert_eq!(say("<a><!-- DOCTYPE --></a>"), "<a>");
}

#[test]
fn bytes_are_those_of_the_declared_set() {
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>";
    assert!(judge(latin, false).is_ok());
    assert!(judge(b"<a>\xe4</a>", false).is_err());
    // The message's own character set was checked, and receivers decode it first.
    assert!(judge(b"<a>\xe4</a>", true).is_ok());
}

#[test]
fn bounds_are_exact() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    let many = |count: usize| format!("<r>{}</r>", "<a/>".repeat(count - 1));
    let attributes = |count: usize| {
        let all: String = (0..count).map(|i| format!(" a{i}=''")).collect();
        format!("<a{all}/>")
    };
    let name = |length: usize| format!("<{}/>", "a".repeat(length));
    for (good, bad) in [
        (nested(128), nested(129)),
        (many(100_000), many(100_001)),
        (attributes(64), attributes(65)),
        (name(256), name(257)),
    ] {
        assert!(say(&good).starts_with('<'), "{}", say(&good));
        assert!(say(&bad).starts_with("with "), "{}", say(&bad));
    }
    // Deep nesting ends early, and does not end the process.
    assert!(say(&"<a>".repeat(1 << 20)).starts_with("with more than 128"));
}

/// Pieces of XML, put together at random, in documents that are often nearly right.
fn document() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<a>"),
        Just("</a>"),
        Just("<b c='d'>"),
        Just("</b>"),
        Just("<e/>"),
        Just("x"),
        Just(" "),
        Just("&amp;"),
        Just("&#65;"),
        Just("&"),
        Just("]]>"),
        Just("<!--"),
        Just("-->"),
        Just("-"),
        Just("<![CDATA["),
        Just("<?p "),
        Just("?>"),
        Just("<"),
        Just(">"),
        Just("'"),
        Just("="),
        Just("<a b='"),
        Just("c=\"&lt;\""),
        Just("<?xml version='1.0'?>"),
        Just("ä"),
        Just("\u{1}"),
    ];
    let inner = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![
        inner.clone(),
        inner.clone().prop_map(|text| format!("<a>{text}</a>")),
        inner.prop_map(|text| format!("<a {text}/>")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_independent_parser_agrees(text in document()) {
        let options = roxmltree::ParsingOptions { allow_dtd: false, ..roxmltree::ParsingOptions::default() };
        let theirs = roxmltree::Document::parse_with_options(&text, options);
        let ours = judge(text.as_bytes(), false);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {:?}, {:?}", text, ours.err(), theirs.err());
        if let (Ok(root), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(root, theirs.root_element().tag_name().name().as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = judge(&bytes, true);
    }
}
