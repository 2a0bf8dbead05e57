import multiprocessing
import os
import pty
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

# Writes its status, descriptors and process id into a file, then sleeps until it is terminated.
PROBE = (
    'cat /proc/self/status > "$0.new"; ls -l /proc/self/fd >> "$0.new"; echo "pid $$" >> "$0.new"; '
    'mv "$0.new" "$0"; exec sleep 60'
)
# Signals below 32, without those that Rust's runtime handles to find the end of a stack.
COMPARED = (1 << 31) - 1 & ~(1 << signal.SIGSEGV - 1) & ~(1 << signal.SIGBUS - 1)


def command(out):
    return ["/bin/sh", "-c", PROBE, out]


def links():
    """The targets of the descriptors of this process."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + name))
        except OSError:
            pass
    return found


def itself():
    """The report of this process, as PROBE writes it."""
    with open("/proc/self/status") as status:
        return status.read() + "\n".join("-> " + link for link in links()) + f"\npid {os.getpid()}\n"


def tell(out):
    with open(out + ".new", "w") as file:
        file.write(itself())
    os.rename(out + ".new", out)


def tell_and_stay(out):
    tell(out)
    time.sleep(60)


def nothing():
    pass


def wait_for(what, question):
    end = time.monotonic() + 20
    while not (answer := question()):
        assert time.monotonic() < end, f"timed out waiting for {what}"
        time.sleep(0.005)
    return answer


def told(out):
    wait_for("the child", lambda: os.path.exists(out))
    with open(out) as file:
        return file.read()


def is_over(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def system(out):
    os.system(shlex.join(command(out)) + " &")


def popen(out):
    subprocess.Popen(command(out))


def popen_inherits(out):
    subprocess.Popen(command(out), close_fds=False)


def popen_shell(out):
    subprocess.Popen(shlex.join(command(out)), shell=True, close_fds=False, restore_signals=False)


def popen_preexec(out):
    subprocess.Popen(command(out), preexec_fn=os.setsid, close_fds=False)


def popen_session(out):
    subprocess.Popen(command(out), start_new_session=True, close_fds=False)


def posix_spawn(out):
    os.posix_spawn("/bin/sh", command(out), os.environ)


def posix_spawnp(out):
    os.posix_spawnp("sh", command(out), {"PATH": "/usr/bin:/bin"})


def spawnv(out):
    os.spawnv(os.P_NOWAIT, "/bin/sh", command(out))


def spawnlp(out):
    os.spawnlp(os.P_NOWAIT, "sh", *command(out))


def fork_exec(out):
    if os.fork() == 0:
        os.execv("/bin/sh", command(out))


def pty_fork_exec(out):
    child, terminal = pty.fork()
    if child == 0:
        os.execv("/bin/sh", command(out))
    return terminal


def fork(out):
    if os.fork() == 0:
        tell_and_stay(out)


def pty_fork(out):
    child, terminal = pty.fork()
    if child == 0:
        tell_and_stay(out)
    return terminal


def process(method, out):
    child = multiprocessing.get_context(method).Process(target=tell_and_stay, args=(out,))
    child.start()
    text = told(out)
    child.terminate()
    child.join(10)
    return text, child.exitcode


def ended(method, out):
    child = multiprocessing.get_context(method).Process(target=tell, args=(out,))
    child.start()
    child.join(10)
    return told(out), child.exitcode


def pool(method, out):
    with multiprocessing.get_context(method).Pool(1) as pool:
        text = pool.apply(itself)
    pool.join()
    return text, "joined"


def executor(method, out):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(itself).result(), "shut down"


BY_METHOD = {"process": process, "ended": ended, "pool": pool, "executor": executor}


def run(way):
    sockets = {link for link in links() if link.startswith("socket:")}
    name, _, method = way.partition("_")
    with tempfile.TemporaryDirectory() as folder:
        out = folder + "/out"
        if name in BY_METHOD:
            text, end = BY_METHOD[name](method, out)
        else:
            terminal = globals()[way](out)
            text = told(out)
            child = int(text.rpartition("pid ")[2])
            os.kill(child, signal.SIGTERM)
            try:
                wait_for("the end of the child", lambda: is_over(child))
                end = "terminated"
            except AssertionError:
                os.kill(child, signal.SIGKILL)
                end = "killed"
            try:
                os.waitpid(child, 0)
            except ChildProcessError:
                pass
            if terminal is not None:
                os.close(terminal)
    masks = []
    for line in text.splitlines():
        if line.startswith(("SigBlk:", "SigIgn:", "SigCgt:")):
            kind, mask = line.split()
            masks.append(f"{kind}{int(mask, 16) & COMPARED:08x}")
    inherited = [
        link
        for link in (line.rpartition("-> ")[2] for line in text.splitlines() if "-> " in line)
        if link in sockets or link.startswith("anon_inode:[event")
    ]
    return f"{' '.join(masks)} inherited: {inherited} end: {end}"


def application(environ, start_response):
    way = environ["PATH_INFO"][1:]
    result = sys.executable if way == "python" else run(way)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [result.encode()]
