package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cairn/fsm"
	"cairn/httpapi/client"
	"cairn/httpapi/rest"
)

func (a *app) tokenCommand() *cobra.Command {
	return a.online(group("token", "Create, list and revoke tokens", groupCluster, a.tokenCreate(), a.tokenRevoke(), a.tokenList()))
}

func (a *app) tokenCreate() *cobra.Command {
	var in rest.NewToken
	var hunt string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create --role ROLE",
		Short: "Create a token; its secret is told this once",
		Example: `  cairn token create --role organizer --hunt sample --ttl 720h
  cairn token create --role join --uses 3
  TOKEN=$(cairn token create --role admin -o json | jq -r .token)`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			switch in.Role {
			case "admin", "organizer", "join":
			default:
				return usagef("--role %q is none of admin, organizer, join; a team gets its token with \"cairn team add\"", in.Role)
			}
			if ttl < 0 {
				return usagef("--ttl must be positive")
			}
			if ttl > 0 {
				in.TTL = ttl.String()
			}
			in.Hunt = fsm.HuntID(hunt)
			made, err := c.CreateToken(ctx, in)
			if err != nil {
				return err
			}
			return a.emit(answer{made, func(p *page) {
				t := newTable("ID", "ROLE", "HUNT", "EXPIRES", "USES LEFT", "TOKEN")
				t.add(append(tokenCells(made.Token), made.Secret)...)
				p.table(t)
			}})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&in.Role, "role", "", "`ROLE`: admin, organizer or join")
	f.StringVar(&hunt, "hunt", "", "limit an organizer to this `HUNT`")
	f.DurationVar(&ttl, "ttl", 0, "time until it expires (default: never; join: 24h)")
	f.Uint32Var(&in.Uses, "uses", 0, "how many nodes a join token admits (default: any number)")
	cmd.MarkFlagRequired("role") // cannot fail: the flag was just declared
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a token by its id",
		Args:  cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RevokeToken(ctx, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.Stderr, "Revoked token %s.\n", args[0])
			return nil
		}),
	}
}

func (a *app) tokenList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the admin, organizer and join tokens",
		Args:  cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			all := &rest.Tokens{Tokens: []rest.Token{}}
			err := pages(func(token string) (string, error) {
				page, err := c.Tokens(ctx, client.Page{Size: maxPage, Token: token})
				if err != nil {
					return "", err
				}
				all.Tokens = append(all.Tokens, page.Tokens...)
				return page.NextPageToken, nil
			})
			if err != nil {
				return err
			}
			return a.emit(answer{all, func(p *page) {
				t := newTable("ID", "ROLE", "HUNT", "EXPIRES", "USES LEFT", "CREATED")
				for _, k := range all.Tokens {
					t.add(append(tokenCells(k), when(&k.Created))...)
				}
				p.table(t)
			}})
		}),
	}
}

func tokenCells(t rest.Token) []string {
	uses := "-"
	if t.UsesLeft != nil {
		uses = strconv.FormatUint(uint64(*t.UsesLeft), 10)
	}
	return []string{t.ID, t.Role, orDash(string(t.Hunt)), when(t.ExpiresAt), uses}
}
