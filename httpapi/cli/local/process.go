package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// spawner starts children from one thread that lives as long as they do. On
// Linux a child's parent-death signal comes when the *thread* that made it
// ends, and Go ends threads as it likes, unless a goroutine is locked to one. A
// child also begins on the CPUs of that thread.
type spawner struct {
	requests chan func()
}

// newSpawner returns one whose children run on some CPUs; none means all. If enter
// is not nil, its thread begins with it.
func newSpawner(cpus []int, enter func() error) (*spawner, error) {
	s := &spawner{requests: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ready <- prepare(cpus, enter)
		for request := range s.requests {
			request()
		}
	}()
	if err := <-ready; err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// prepare makes the calling thread one whose children are where they should be.
func prepare(cpus []int, enter func() error) error {
	if len(cpus) > 0 {
		if err := pinThread(0, cpus); err != nil {
			return fmt.Errorf("run nodes on CPUs %v: %w", cpus, err)
		}
	}
	if enter != nil {
		return enter()
	}
	return nil
}

// close ends the thread; no child may run any more.
func (s *spawner) close() { close(s.requests) }

// start runs a program with its output appended to the file log.
// Its environment is this process's, and more.
func (s *spawner) start(binary string, args, more []string, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(cleanEnv(os.Environ()), more...)
	cmd.SysProcAttr = attributes()

	started := make(chan error, 1)
	s.requests <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// cleanEnv drops CAIRN_ variables: they are meant for the process that starts
// the cluster, and a CAIRN_DATA would put all nodes into one directory.
func cleanEnv(env []string) []string {
	var out []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CAIRN_") {
			out = append(out, kv)
		}
	}
	return out
}

// process is a started child.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // of Wait; read after done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// state says how the process ended; it must have.
func (p *process) state() string {
	if p.err != nil {
		return p.err.Error()
	}
	return "exit status 0"
}

// kill ends the whole process group at once.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

// stop asks the process to end, and kills it if it has not within grace.
func (p *process) stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	timer := time.AfterFunc(grace, p.kill)
	<-p.done
	timer.Stop()
}

// signal reaches the process group, whose id is the child's. Once the child
// was waited for, its id may belong to somebody else.
func (p *process) signal(sig syscall.Signal) {
	if p.exited() {
		return
	}
	if err := syscall.Kill(-p.pid(), sig); errors.Is(err, syscall.ESRCH) {
		p.cmd.Process.Signal(sig) // not a group yet
	}
}
