//go:build linux

// Package netns makes a network that a test can hurt, of hosts that are network
// namespaces of this kernel.
//
// Each host has an address of its own and sees the others through one device, a
// TUN, whose other end this process holds. A switch here reads every packet that
// a host sends and passes it on to the host that it is for, or does what the Link
// of these two says: drop it, lose some, delay it, send it twice. So a real TCP
// meets real trouble, in one direction if need be, without a packet filter or a
// traffic scheduler in the kernel. The switch counts what it passed and dropped:
// a fault that dropped nothing has proved nothing.
//
// Processes are born into a host (Enter); this process reaches it by Dial. It
// needs root and /dev/net/tun. Nothing is left behind: devices end with the files
// that hold them, and namespaces with the last process inside.
package netns
