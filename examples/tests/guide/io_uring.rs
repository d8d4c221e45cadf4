#![allow(unsafe_code, reason = "seccomp filters have no safe wrapper here")]

use std::{
    io::{self, Read},
    net::TcpStream,
    os::unix::process::CommandExt,
    process::Command,
};

use vrrp_lab::{BackgroundProgram, Lan, example, wait_for};

const ARGUMENTS: [&str; 2] = ["eth0", "192.0.2.254/24"];

#[test]
fn a_router_and_a_server_share_one_ring() {
    let lan = Lan::new().unwrap();
    let host = lan.host("r1", &["192.0.2.1/24"]).unwrap();
    let program = BackgroundProgram::start(host.namespace(), "guide_io_uring", &ARGUMENTS);
    let active = "from Backup to Active: the Active fell silent";
    program.wait_for(active, |line| line.ends_with(active).then_some(()));
    let addresses = host.addresses().unwrap();
    assert!(addresses.contains(&ARGUMENTS[1].parse().unwrap()));
    // The second round shows that the operation is queued again.
    for _ in 0..2 {
        let answer = wait_for("the state", BackgroundProgram::LIMIT, || {
            let connect = || TcpStream::connect("127.0.0.1:5112");
            let mut stream = host.namespace().run(connect).ok()?;
            stream
                .set_read_timeout(Some(BackgroundProgram::LIMIT))
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        });
        assert_eq!(answer.unwrap(), "Active\n");
    }
}

#[test]
fn a_kernel_that_forbids_io_uring_is_an_error_with_the_reasons() {
    let mut command = Command::new(example("guide_io_uring").unwrap());
    command.args(ARGUMENTS);
    // SAFETY: the function makes two system calls and allocates nothing.
    unsafe { command.pre_exec(forbid_io_uring) };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    for part in [
        "io_uring is not available: Operation not permitted",
        "kernel.io_uring_disabled",
        "seccomp",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

/// Makes `io_uring_setup` fail with `EPERM` in this process, as Docker's default filter does.
fn forbid_io_uring() -> io::Result<()> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let statement = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let number = libc::SYS_io_uring_setup
        .try_into()
        .map_err(io::Error::other)?;
    let mut filter = [
        // The first word of seccomp_data is the number of the system call.
        statement(LOAD, 0, 0),
        statement(EQUAL, 1, number),
        statement(RETURN, 0, refused),
        statement(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program during the call.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
