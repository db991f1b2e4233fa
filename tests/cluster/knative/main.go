// Command knative runs Knative Serving's own reconcilers in one process, for the tests' cluster.
//
// Knative's two programs, controller and autoscaler, cannot run side by side on one machine: both
// insist on port 8080. Their reconcilers run here unchanged, without that port, telemetry and leader
// election. One thing is replaced: no pod of this cluster serves requests, so instead of asking the
// pods for their load the autoscaler is told that there is none.
package main

import (
	"context"
	"time"

	"go.uber.org/zap"
	filteredinformerfactory "knative.dev/pkg/client/injection/kube/informers/factory/filtered"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/signals"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/apis/serving"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	"knative.dev/serving/pkg/reconciler/autoscaling/kpa"
	"knative.dev/serving/pkg/reconciler/configuration"
	"knative.dev/serving/pkg/reconciler/gc"
	"knative.dev/serving/pkg/reconciler/labeler"
	"knative.dev/serving/pkg/reconciler/metric"
	"knative.dev/serving/pkg/reconciler/revision"
	"knative.dev/serving/pkg/reconciler/route"
	"knative.dev/serving/pkg/reconciler/serverlessservice"
	"knative.dev/serving/pkg/reconciler/service"
)

func main() {
	ctx := filteredinformerfactory.WithSelectors(signals.NewContext(), serving.RevisionUID)
	config := injection.ParseAndGetRESTConfigOrDie()
	config.QPS, config.Burst = 200, 400 // one client for all; the default would make them queue
	ctx, startInformers := injection.EnableInjectionOrDie(ctx, config)
	logger, _ := sharedmain.SetupLoggerOrDie(ctx, "controller")
	ctx = logging.WithLogger(ctx, logger)
	configMaps := sharedmain.SetupConfigMapWatchOrDie(ctx, logger)
	controllers, _ := sharedmain.ControllersAndWebhooksFromCtors(ctx, configMaps,
		configuration.NewController,
		gc.NewController,
		labeler.NewController,
		revision.NewController,
		route.NewController,
		serverlessservice.NewController,
		service.NewController,
		newPodAutoscalerController,
		newMetricController,
	)
	if err := configMaps.Start(ctx.Done()); err != nil {
		logger.Fatalw("config maps", zap.Error(err))
	}
	startInformers()
	if err := controller.StartAll(ctx, controllers...); err != nil {
		logger.Fatalw("controllers", zap.Error(err))
	}
}

func newPodAutoscalerController(ctx context.Context, cmw configmap.Watcher) *controller.Impl {
	newScaler := func(*scaling.Decider) (scaling.UniScaler, error) { return idle{}, nil }
	return kpa.NewController(ctx, cmw,
		scaling.NewMultiScaler(ctx.Done(), newScaler, logging.FromContext(ctx)))
}

func newMetricController(ctx context.Context, cmw configmap.Watcher) *controller.Impl {
	noScraper := func(*v1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) {
		return nil, nil
	}
	return metric.NewController(ctx, cmw,
		metrics.NewMetricCollector(noScraper, logging.FromContext(ctx)))
}

// idle finds no load, so that a revision keeps its minimum number of pods.
type idle struct{}

func (idle) Scale(*zap.SugaredLogger, time.Time) scaling.ScaleResult {
	return scaling.ScaleResult{ScaleValid: true}
}

func (idle) Update(*scaling.DeciderSpec) {}

func (idle) OnDelete() {}
