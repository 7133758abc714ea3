import time
def test_probe(bench):
    bench.create()
    for i in (5, 10, 20):
        t=time.time(); o = bench.run(i); print("took", time.time()-t, o)
    t=time.time(); bench.run(40, workers=2); print("took 2w", time.time()-t)
    print([ (t.number,t.state,t.value,t.params['x']) for t in bench.trials][:8], bench.places)
def test_proc(bench):
    bench.create({"pace":0.01})
    t=time.time(); p=bench.start(5); print(p.communicate(), time.time()-t)
    print(bench.states)
