// A resource server with gin. What it is told stands in its environment.
package main

import (
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	x402 "github.com/x402-foundation/x402/go"
	"github.com/x402-foundation/x402/go/extensions/eip2612gassponsor"
	x402http "github.com/x402-foundation/x402/go/http"
	ginmw "github.com/x402-foundation/x402/go/http/gin"
	exactevm "github.com/x402-foundation/x402/go/mechanisms/evm/exact/server"
	uptoevm "github.com/x402-foundation/x402/go/mechanisms/evm/upto/server"
	exactsvm "github.com/x402-foundation/x402/go/mechanisms/svm/exact/server"
)

// What is charged in the end where the payer signs for more: the price of everything else.
const used = "1000"

func told(name string) string {
	value := os.Getenv(name)
	if value == "" {
		log.Fatalf("%s is not set", name)
	}
	return value
}

// How the offers of each way of paying differ. Buyers through Permit2 have no gas to let it take their token beforehand.
func offer(way string) x402http.RouteConfig {
	accepts := x402http.PaymentOption{
		Scheme:  "exact",
		Network: x402.Network(told("NETWORK")),
		Price:   "$0.001",
		PayTo:   told("PAY_TO"),
	}
	var extensions map[string]any
	switch way {
	case "permit2":
		accepts.Extra = map[string]any{"assetTransferMethod": "permit2"}
		extensions = eip2612gassponsor.DeclareEip2612GasSponsoringExtension()
	case "upto":
		accepts.Scheme = "upto"
		accepts.Price = "$0.005"
		extensions = eip2612gassponsor.DeclareEip2612GasSponsoringExtension()
	}
	return x402http.RouteConfig{
		Accepts:     x402http.PaymentOptions{accepts},
		Description: "An answer",
		MimeType:    "application/json",
		Extensions:  extensions,
	}
}

func scheme(way string) x402.SchemeNetworkServer {
	switch {
	case strings.HasPrefix(told("NETWORK"), "solana:"):
		return exactsvm.NewExactSvmScheme()
	case way == "upto":
		return uptoevm.NewUptoEvmScheme()
	default:
		return exactevm.NewExactEvmScheme()
	}
}

func main() {
	way := told("WAY")
	facilitator := x402http.NewHTTPFacilitatorClient(&x402http.FacilitatorConfig{URL: told("FACILITATOR_URL")})
	shop := gin.New()
	shop.Use(ginmw.PaymentMiddlewareFromConfig(
		x402http.RoutesConfig{"GET /paid": offer(way)},
		ginmw.WithFacilitatorClient(facilitator),
		ginmw.WithScheme(x402.Network(told("NETWORK")), scheme(way)),
	))
	shop.GET("/paid", func(c *gin.Context) {
		if way == "upto" {
			ginmw.SetSettlementOverrides(c, &x402.SettlementOverrides{Amount: used})
		}
		c.JSON(http.StatusOK, gin.H{"answer": "forty-two"})
	})
	log.Fatal(shop.Run("127.0.0.1:" + told("PORT")))
}
