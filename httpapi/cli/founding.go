package cli

import (
	"fmt"
	"os"
)

// Founding tells the tokens of a new cluster, the only time they are known: on
// Stderr, and in AdminTokenFile and JoinTokenFile where they are set. Those must
// be new files, and only the owner can read them.
func (c ServeConfig) Founding(cluster, admin, join string) error {
	for _, f := range []struct{ path, token string }{{c.AdminTokenFile, admin}, {c.JoinTokenFile, join}} {
		if f.path == "" {
			continue
		}
		if err := writeToken(f.path, f.token); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Stderr, `
Founded cluster %s. These tokens are told this once:

  admin token  %s
  join token   %s   (many uses, 24 hours)

Next, from another shell or machine:

  export CAIRN_TOKEN=<the admin token>
  cairn status
  cairn join <this node's --cluster address> --token <the join token> --data DIR

`, cluster, admin, join)
	return err
}

func writeToken(path, token string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the token to a new file: %w", err)
	}
	if _, err := fmt.Fprintln(f, token); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
