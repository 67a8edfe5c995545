// A buyer with net/http. What it is told stands in its environment.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/ethclient"
	x402 "github.com/x402-foundation/x402/go"
	x402http "github.com/x402-foundation/x402/go/http"
	exactevm "github.com/x402-foundation/x402/go/mechanisms/evm/exact/client"
	exactevmv1 "github.com/x402-foundation/x402/go/mechanisms/evm/exact/v1/client"
	uptoevm "github.com/x402-foundation/x402/go/mechanisms/evm/upto/client"
	"github.com/x402-foundation/x402/go/mechanisms/svm"
	exactsvm "github.com/x402-foundation/x402/go/mechanisms/svm/exact/client"
	exactsvmv1 "github.com/x402-foundation/x402/go/mechanisms/svm/exact/v1/client"
	evmsigners "github.com/x402-foundation/x402/go/signers/evm"
	svmsigners "github.com/x402-foundation/x402/go/signers/svm"
)

// A wallet for the network. Those of version 1 have names without a colon.
func wallet() (*x402.X402Client, error) {
	network, key, node := x402.Network(os.Getenv("NETWORK")), os.Getenv("PAYER_KEY"), os.Getenv("RPC_URL")
	v1 := !strings.Contains(string(network), ":")
	client := x402.Newx402Client()
	if strings.HasPrefix(string(network), "solana") {
		signer, err := svmsigners.NewClientSignerFromPrivateKey(key)
		if err != nil {
			return nil, err
		}
		config := &svm.ClientConfig{RPCURL: node}
		if v1 {
			return client.RegisterV1(network, exactsvmv1.NewExactSvmSchemeV1(signer, config)), nil
		}
		return client.Register(network, exactsvm.NewExactSvmScheme(signer, config)), nil
	}
	// A payer through Permit2 asks a node what it may take already.
	chain, err := ethclient.Dial(node)
	if err != nil {
		return nil, err
	}
	signer, err := evmsigners.NewClientSignerFromPrivateKeyWithClient(key, chain)
	if err != nil {
		return nil, err
	}
	if v1 {
		return client.RegisterV1(network, exactevmv1.NewExactEvmSchemeV1(signer)), nil
	}
	return client.
		Register(network, exactevm.NewExactEvmScheme(signer, nil)).
		Register(network, uptoevm.NewUptoEvmScheme(signer, nil)), nil
}

func buy() (map[string]any, error) {
	client, err := wallet()
	if err != nil {
		return nil, err
	}
	buyer := x402http.WrapHTTPClientWithPayment(&http.Client{}, x402http.Newx402HTTPClient(client))
	response, err := buyer.Get(os.Getenv("URL"))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return map[string]any{"status": response.StatusCode, "body": string(body)}, err
}

func main() {
	report, err := buy()
	if err != nil {
		report = map[string]any{"status": nil, "error": err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic(err)
	}
}
