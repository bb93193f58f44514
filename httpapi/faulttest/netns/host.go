//go:build linux

package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	device = "tun0"
	// mtu of the hosts' devices, in bytes: packets cost this process CPU, so they
	// are large ones.
	mtu = 9000
	// queue is how many packets of a host may wait for the switch.
	queue = 4096
)

// Host is one namespace. Its methods may be called at the same time.
type Host struct {
	Addr netip.Addr

	ns  *os.File // keeps the namespace, and is the way in
	tun *os.File
}

// newHost makes a namespace with a loopback and a device that has addr. The thread
// that does so has left this process's own namespace and ends.
func newHost(addr netip.Addr) (*Host, error) {
	h := &Host{Addr: addr}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		made <- h.make()
	}()
	if err := <-made; err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *Host) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	var err error
	if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if h.tun, err = openTUN(); err != nil {
		return err
	}
	return h.configure()
}

// openTUN makes the device. The file may be polled only when it is one.
func openTUN() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(device)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

// configure gives the devices of the calling thread's namespace their addresses
// and brings them up.
func (h *Host) configure() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	addr := h.Addr.As4()
	for _, step := range []struct {
		device string
		ioctl  uint
		set    func(*unix.Ifreq)
	}{
		{device, unix.SIOCSIFADDR, func(r *unix.Ifreq) { must(r.SetInet4Addr(addr[:])) }},
		{device, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) { must(r.SetInet4Addr([]byte{255, 255, 255, 0})) }},
		{device, unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(mtu) }},
		{device, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) { r.SetUint32(queue) }},
		{device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }},
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }},
	} {
		req, err := unix.NewIfreq(step.device)
		if err != nil {
			return err
		}
		step.set(req)
		if err := unix.IoctlIfreq(s, step.ioctl, req); err != nil {
			return fmt.Errorf("configure %s (ioctl %#x): %w", step.device, step.ioctl, err)
		}
	}
	return nil
}

// must panics on what cannot be: an IPv4 address has four bytes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Enter moves the calling thread to the host, with what it starts and the sockets
// that it makes from then on. The thread must be locked and must end there.
func (h *Host) Enter() error {
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace of %s: %w", h.Addr, err)
	}
	return nil
}

// Dial connects from the host, as net.Dialer's DialContext does, to an address
// that is no name.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		runtime.LockOSThread() // for good: a socket belongs to where its maker was
		if err := h.Enter(); err != nil {
			done <- dialed{nil, err}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		done <- dialed{conn, err}
	}()
	d := <-done
	return d.conn, d.err
}

func (h *Host) close() {
	for _, f := range []*os.File{h.ns, h.tun} {
		if f != nil {
			f.Close()
		}
	}
}
