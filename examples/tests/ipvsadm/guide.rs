//! The promises of a guide about ipvsadm (E19 to E23): each sequence of commands builds on the
//! table that the one before it left.

use vrrp_lab::{GuestTest, guest_tests};

use crate::Program;

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        e19_services_are_added_edited_and_deleted,
        e19_e20_e21_servers_have_short_addresses_and_the_port_of_the_service_without_masquerading,
        e19_e23_a_saved_table_is_restored_after_it_was_cleared,
        e22_a_service_that_is_not_there_is_an_error_and_the_script_goes_on,
        e19_a_mark_has_servers_without_a_port,
    ]
    .to_vec()
}

/// The services and servers in a listing, without the head.
#[track_caller]
fn listing(program: Program) -> String {
    let text = program.prints("-Ln");
    let lines = text.lines().skip(3).map(str::trim_end);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Plays a trial with both programs, each on an empty table. Each program shows the same table as
/// the other.
fn play(trial: impl Fn(Program)) {
    for program in Program::BOTH {
        program.prints("-C");
        trial(program);
    }
}

/// Runs commands that succeed in silence, and holds the table against the guide's listing.
#[track_caller]
fn expect(program: Program, commands: &[&str], expected: &str) {
    for command in commands {
        assert_eq!(program.prints(command), "", "{command}");
    }
    for shows in Program::BOTH {
        assert_eq!(listing(shows), expected, "{program:?}, shown by {shows:?}");
    }
}

fn e19_services_are_added_edited_and_deleted() {
    play(|program| {
        expect(
            program,
            &["-A -t 192.168.8.14:80", "-A -t 192.168.8.15:80"],
            "TCP  192.168.8.14:80 wlc\nTCP  192.168.8.15:80 wlc\n",
        );
        expect(
            program,
            &["-E -t 192.168.8.15:80 -s lc", "-E -t 192.168.8.14:80 -p 30"],
            "TCP  192.168.8.14:80 wlc persistent 30\nTCP  192.168.8.15:80 lc\n",
        );
        expect(
            program,
            &["-D -t 192.168.8.14:80", "-D -t 192.168.8.15:80", "-C"],
            "",
        );
    });
}

/// Three servers, two of them with addresses of fewer than four numbers (E20).
const SERVERS: [&str; 4] = [
    "-A -t 192.168.8.14:80",
    "-a -t 192.168.8.14:80 -r 192.168.8.16",
    "-a -t 192.168.8.14:80 -r 192.168.16",
    "-a -t 192.168.8.14:80 -r 192.168",
];

const SERVERS_LISTED: &str = "\
TCP  192.168.8.14:80 wlc
  -> 192.0.0.168:80               Route   1      0          0
  -> 192.168.0.16:80              Route   1      0          0
  -> 192.168.8.16:80              Route   1      0          0
";

fn e19_e20_e21_servers_have_short_addresses_and_the_port_of_the_service_without_masquerading() {
    play(|program| {
        expect(program, &SERVERS, SERVERS_LISTED);
        // Without -m the port 88 becomes that of the service.
        expect(
            program,
            &[
                "-a -t 192.168.8.14:80 -r 192.168.8.15:88",
                "-a -t 192.168.8.14:80 -r 192.168.8.15:88 -m",
                "-a -t 192.168.8.14:80 -r 192.168.8.15:89 -m -w 3",
            ],
            "\
TCP  192.168.8.14:80 wlc
  -> 192.0.0.168:80               Route   1      0          0
  -> 192.168.0.16:80              Route   1      0          0
  -> 192.168.8.15:80              Route   1      0          0
  -> 192.168.8.15:88              Masq    1      0          0
  -> 192.168.8.15:89              Masq    3      0          0
  -> 192.168.8.16:80              Route   1      0          0
",
        );
        expect(
            program,
            &[
                "-d -t 192.168.8.14:80 -r 192.168.8.15:89",
                "-d -t 192.168.8.14:80 -r 192.168.8.16",
                "-d -t 192.168.8.14:80 -r 192.168.16",
                "-d -t 192.168.8.14:80 -r 192.168",
            ],
            "\
TCP  192.168.8.14:80 wlc
  -> 192.168.8.15:80              Route   1      0          0
  -> 192.168.8.15:88              Masq    1      0          0
",
        );
    });
}

const RULES: &str = "\
-A -t 192.168.8.14:80 -s wlc
-a -t 192.168.8.14:80 -r 192.0.0.168:80 -g -w 1
-a -t 192.168.8.14:80 -r 192.168.0.16:80 -g -w 1
-a -t 192.168.8.14:80 -r 192.168.8.16:80 -g -w 1
";

fn e19_e23_a_saved_table_is_restored_after_it_was_cleared() {
    play(|program| {
        expect(program, &["-C"], "");
        expect(program, &SERVERS, SERVERS_LISTED);
        // As `ipvsadm-save -n` and `ipvsadm-save` run it.
        assert_eq!(program.prints("-Sn"), RULES);
        let with_names = program.prints("-S");
        assert_eq!(with_names, program.other().prints("-S"));
        // Without names of services it is the number.
        let has_names = std::path::Path::new("/etc/services").exists();
        let port = if has_names { ":http " } else { ":80 " };
        assert!(with_names.contains(port), "{with_names}");
        for saved in [RULES, &with_names] {
            expect(program, &["-C"], "");
            // As `ipvsadm-restore` runs it.
            assert_eq!(program.feed(&["-R"], saved).printed(), "");
            expect(program, &[], SERVERS_LISTED);
        }
    });
}

fn e22_a_service_that_is_not_there_is_an_error_and_the_script_goes_on() {
    play(|program| {
        expect(program, &SERVERS, SERVERS_LISTED);
        assert_eq!(program.prints("-D -t 192.168.8.14:80"), "");
        let refused = program.run("-D -t 192.168.8.15:80");
        assert_eq!(refused.status, 255);
        let error = refused.stderr.to_lowercase();
        assert!(error.contains("no such service"), "{refused:?}");
        expect(
            program,
            &[
                "-A -t 192.168.8.14:80",
                "-A -t 192.168.8.15:80",
                "-a -t 192.168.8.15:80 -r 192.168.8.17",
                "-a -t 192.168.8.14:80 -r 192.168.8.18",
            ],
            "\
TCP  192.168.8.14:80 wlc
  -> 192.168.8.18:80              Route   1      0          0
TCP  192.168.8.15:80 wlc
  -> 192.168.8.17:80              Route   1      0          0
",
        );
    });
}

fn e19_a_mark_has_servers_without_a_port() {
    play(|program| {
        expect(
            program,
            &["-A -f 1 -s wlc", "-a -f 1 -r 192.168.8.15 -g"],
            "FWM  1 wlc\n  -> 192.168.8.15:0               Route   1      0          0\n",
        );
    });
}
