import time, json, shutil
import pandas as pd
from pathlib import Path
T="model=tiny_bert task=demo_rte training.max_steps=2 data.max_train_examples=32 data.max_eval_examples=16 tracker=none".split()
def test_a(warm, tmp_path):
    good = pd.DataFrame({"a":["x y","z w"]*20,"b":["u","v"]*20,"label":["yes","no"]*20})
    good.to_csv(tmp_path/"good.csv",index=False)
    good.assign(label="maybe").to_csv(tmp_path/"unknown.csv",index=False)
    good.iloc[:0].to_csv(tmp_path/"empty.csv",index=False)
    (tmp_path/"zero.csv").write_text("")
    (tmp_path/"root/rte").mkdir(parents=True)
    (tmp_path/"root/rte/train.parquet").write_bytes(b"PAR1 not")
    (tmp_path/"root/rte/validation.parquet").write_bytes(b"PAR1 not")
    (tmp_path/"nomodel").mkdir()
    (tmp_path/"badjson").mkdir(); (tmp_path/"badjson/config.json").write_text("{")
    (tmp_path/"listjson").mkdir(); (tmp_path/"listjson/config.json").write_text("[]")
    (tmp_path/"onlyconfig").mkdir(); (tmp_path/"onlyconfig/config.json").write_text('{"model_type":"bert"}')
    (tmp_path/"file").write_text("x")
    C="task=custom task.train_file=good.csv task.validation_file=good.csv task.text_columns=[a,b]".split()
    good.assign(label="yes").to_csv(tmp_path/"one.csv",index=False)
    rows = [["method=[vanilla,hype_x]"],["modle=tiny_bert"],["+foo=1"],["+training.foo=1"],["+task.source.x=1"],["++task.foo=1"],["+model.training.foo=1"],["method=3"],["seed=-1"],["method=hype_n","noise_scale=inf"],["method=hype_n","noise_scale=1e38"],
     ["model.name_or_path=./badjson"],["model.name_or_path=./listjson"],["x"],["'"],["a=[","-m"],[*C,"task.train_file=one.csv","task.validation_file=one.csv"],["+method.vanilla.x=1"],["+method.foo.x=1"],["+method.foo=1"],["+seed=3"],["method.vanilla=null"],
     ["-m","task=glob(demo_*)","task.metric=accuracy"], ["hydra.sweep.dir=foo","-m","seed=range(1,3)"]]
    for a in rows:
        t=time.time(); r=warm(*T,*a); print("\n##",*a, "->", r.returncode, f"{time.time()-t:.1f}"); 
        if r.stdout: print("OUT",r.stdout.rstrip())
        print(r.stderr.rstrip())
