//! Attacks in command sets: what both reference archives let in.

use e2e::Lab;
use e2e::modality::{
    CT, DataSet, Request, US, command, context, echo, element, p_data, store, text, ui, us, with,
    without_length,
};

use super::{Ward, broken_inside, image, images_refused, instance, refused, refused_in};

/// A command set that breaks the rules of command sets: no status can be trusted to reach the sender, so it is aborted.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of attacks")]
fn malformed_commands() {
    const END: &[&str] = &["ABORT 2/6", "close"];
    let own = || store(1, US, &instance(1));
    let in_context = |set: &[u8]| p_data(1, true, true, set);
    let twice = {
        let mut elements = own();
        elements.insert(1, elements[0].clone());
        command(&elements)
    };
    let unordered = {
        let mut elements = own();
        elements.swap(0, 1);
        command(&elements)
    };
    let wrong_length = {
        let mut set = command(&own());
        set[8] ^= 2;
        set
    };
    let other_group = [command(&echo(1)), vec![8, 0, 0x16, 0, 0, 0, 0, 0]].concat();
    let without = |element: u16| {
        let mut elements = own();
        elements.retain(|(other, _)| *other != element);
        command(&elements)
    };
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        broken_inside(
            &ward,
            &[
                ("no group length", in_context(&without_length(&own())), END),
                ("a wrong group length", in_context(&wrong_length), END),
                ("an element twice", in_context(&twice), END),
                ("out of order", in_context(&unordered), END),
                ("an element of the data set", in_context(&other_group), END),
                (
                    "an unknown element",
                    in_context(&command(&with(own(), 0x0999, us(1)))),
                    END,
                ),
                (
                    "an odd value",
                    in_context(&command(&with(own(), 0x1000, b"1.2".to_vec()))),
                    END,
                ),
                ("no message id", in_context(&without(0x0110)), END),
                ("no SOP class", in_context(&without(0x0002)), END),
                ("no SOP instance", in_context(&without(0x1000)), END),
                (
                    "no data set announced",
                    in_context(&command(&with(own(), 0x0800, us(0x0101)))),
                    END,
                ),
                (
                    "an unknown command",
                    in_context(&command(&with(own(), 0x0100, us(0x0999)))),
                    END,
                ),
                ("an empty command", in_context(&[]), END),
                (
                    "a response to nothing",
                    in_context(&command(&[
                        (0x0100, us(0x8001)),
                        (0x0120, us(1)),
                        (0x0800, us(0x0101)),
                        (0x0900, us(0)),
                    ])),
                    &["ABORT 2/2", "close"],
                ),
                (
                    "a data set without command",
                    p_data(1, false, true, &image().bytes()),
                    &["ABORT 2/5", "close"],
                ),
                (
                    "in a context that was not granted",
                    p_data(9, true, true, &command(&own())),
                    END,
                ),
                (
                    "a context that changes midway",
                    [
                        p_data(1, true, false, &command(&own())[..20]),
                        p_data(3, true, true, &command(&own())[20..]),
                    ]
                    .concat(),
                    &["ABORT 2/5", "close"],
                ),
            ],
        );
    });
}

/// The command says another class or instance than the data set or the context.
#[test]
fn command_and_data_set_disagree() {
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let data = || image().bytes();
        refused(
            &ward,
            &[
                (
                    "another class than the context's",
                    command(&store(1, CT, &instance(1))),
                    data(),
                    "status 0122",
                ),
                (
                    "another instance than the data set's",
                    command(&store(1, US, &instance(2))),
                    data(),
                    "status A900",
                ),
                (
                    "another class in the data set",
                    command(&store(1, US, &instance(1))),
                    image().with(0x0008_0016, "UI", ui(CT)).bytes(),
                    "status A900",
                ),
                (
                    "no class in the data set",
                    command(&store(1, US, &instance(1))),
                    image().without(0x0008_0016).bytes(),
                    "status A900",
                ),
                (
                    "no instance in the data set",
                    command(&store(1, US, &instance(1))),
                    image().without(0x0008_0018).bytes(),
                    "status A900",
                ),
            ],
        );
        // The class of one context, sent in the other.
        let both = Request::new(&[
            (1, US, &[e2e::modality::EXPLICIT]),
            (3, CT, &[e2e::modality::EXPLICIT]),
        ]);
        refused_in(
            &ward,
            &both,
            "AC 0 0",
            &[(
                "the class of another context",
                command(&store(1, CT, &instance(1))),
                data(),
                "status 0122",
            )],
        );
    });
}

/// Identifiers become file names: relative, absolute and drive paths, in the command, in the data set, as the patient's.
#[test]
fn attack_02_path_traversal() {
    let named = |name: &str| command(&with(store(1, US, &instance(1)), 0x1000, text(name)));
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        let data = || image().bytes();
        let own = || command(&store(1, US, &instance(1)));
        let patient = |id: &str| image().with(0x0010_0020, "LO", text(id)).bytes();
        let uid = |tag| image().with(tag, "UI", text("../../../x")).bytes();
        refused(
            &ward,
            &[
                (
                    "relative, in the command",
                    named("../../../../tmp/x"),
                    data(),
                    "status 0117",
                ),
                (
                    "absolute, in the command",
                    named("/etc/cron.d/x"),
                    data(),
                    "status 0117",
                ),
                (
                    "a drive, in the command",
                    named("C:\\\\x"),
                    data(),
                    "status 0117",
                ),
                ("as the instance", own(), uid(0x0008_0018), "status C000"),
                ("as the study", own(), uid(0x0020_000d), "status C000"),
                ("as the series", own(), uid(0x0020_000e), "status C000"),
                (
                    "relative, as the patient",
                    own(),
                    patient("../../root"),
                    "status C000",
                ),
                (
                    "absolute, as the patient",
                    own(),
                    patient("/root/.ssh"),
                    "status C000",
                ),
                (
                    "a drive, as the patient",
                    own(),
                    patient("C:\\Windows"),
                    "status C000",
                ),
            ],
        );
        // A slash in an identifier is everyday.
        let mut modality = ward.associated();
        let slash = DataSet::image(&instance(3)).with(0x0010_0020, "LO", text("12/345"));
        let said = modality.ask(&command(&store(3, US, &instance(3))), Some(&slash.bytes()));
        assert_eq!(said, "status 0000");
    });
}

/// Services, classes and roles that no rule gives.
#[test]
fn services_that_no_rule_allows() {
    let find = "1.2.840.10008.5.1.4.1.2.2.1";
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        // The context is refused before the archive hears of it.
        let mut modality = ward.dial();
        let mut request = Request::usual();
        request
            .items
            .insert(3, context(5, find, &[e2e::modality::IMPLICIT]));
        assert_eq!(modality.associate(&request), "AC 0 0 1");
        let query = with(
            with(store(1, find, "1.2"), 0x0100, us(0x0020)),
            0x0800,
            us(1),
        );
        let said = modality.ask_in(5, &command(&query), None);
        assert_eq!(said, "ABORT 2/6");
        ward.has_stored(0);
        let told = ward.archive.asked().join("\n");
        assert!(!told.contains("Query"), "{told}");
        ward.stores(&mut ward.associated(), 0);
    });
}

/// Nothing where something must be: commands without their data set or their values, data sets without their elements.
#[test]
fn attack_05_nothing_where_something_must_be() {
    const END: &[&str] = &["ABORT 2/6", "close"];
    let own = || store(1, US, &instance(1));
    let without_value =
        |element: u16| p_data(1, true, true, &command(&with(own(), element, Vec::new())));
    let file_without = |meta: Vec<u8>| {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        [file, meta, image().bytes()].concat()
    };
    Lab::run(|lab| {
        let ward = Ward::open(lab);
        broken_inside(
            &ward,
            &[
                (
                    "an image without its data set",
                    p_data(1, true, true, &command(&with(own(), 0x0800, us(0x0101)))),
                    END,
                ),
                (
                    "an echo with a data set",
                    p_data(3, true, true, &command(&with(echo(1), 0x0800, us(0)))),
                    END,
                ),
                ("a class without value", without_value(0x0002), END),
                ("a command without value", without_value(0x0100), END),
                ("a message id without value", without_value(0x0110), END),
                ("a data set type without value", without_value(0x0800), END),
                ("an instance without value", without_value(0x1000), END),
            ],
        );
        let empty = |tag, vr| image().with(tag, vr, Vec::new()).bytes();
        let identified = [
            element(0x0008_0016, "UI", &ui(US)),
            element(0x0008_0018, "UI", &ui(&instance(1))),
        ];
        images_refused(
            &ward,
            vec![
                ("no element", Vec::new(), "status A900"),
                ("half a tag", vec![8, 0], "status C000"),
                ("nothing but its name", identified.concat(), "status A900"),
                (
                    "a file without meta information",
                    file_without(Vec::new()),
                    "status C000",
                ),
                (
                    "meta information that is longer than the file",
                    file_without(element(0x0002_0000, "UL", &[0xff; 4])),
                    "status C000",
                ),
                (
                    "a study without value",
                    empty(0x0020_000d, "UI"),
                    "status A900",
                ),
                (
                    "rows without value",
                    empty(0x0028_0010, "US"),
                    "status C000",
                ),
                (
                    "pixels without value",
                    empty(0x7fe0_0010, "OB"),
                    "status C000",
                ),
            ],
        );
        // What may be empty is empty every day.
        let mut modality = ward.associated();
        let sparse = DataSet::image(&instance(3))
            .with(0x0010_0010, "PN", Vec::new())
            .with(0x0010_0030, "DA", Vec::new())
            .with(0x0008_0050, "SH", Vec::new());
        let said = modality.ask(&command(&store(3, US, &instance(3))), Some(&sparse.bytes()));
        assert_eq!(said, "status 0000");
    });
}
